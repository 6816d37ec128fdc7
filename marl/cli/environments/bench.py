"""``marl bench``."""

import click

from marl.cli.options import ALLOW, DEBUG, SEED, SET, collect_settings, environment_argument


@click.command()
@environment_argument(required=True)
@SEED
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="Of training.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes.  [default: one a core]")
@SET
@ALLOW
@DEBUG
def bench(
    environment: str,
    seed: int | None,
    seconds: float,
    workers: int | None,
    overrides: tuple[str, ...],
    allow: tuple[str, ...],
    debug: bool,
) -> None:
    """Say how fast an environment is trained here and where a worker's time goes."""
    import tempfile

    from marl.api import train

    settings = collect_settings(overrides, seed=seed, node__workers=workers)
    settings |= {"stop.minutes": seconds / 60, "stop.solved": False, "report.tensorboard": False}
    settings |= {"evaluation.episodes": 0, "evaluation.final_episodes": 0}  # nobody would see what they earn
    with tempfile.TemporaryDirectory() as folder:
        settings |= {"report.runs": folder, "report.pictures": False}
        result = train(environment, settings=settings, out=f"{folder}/weights.pt", live=False, allow=allow)
    click.echo(f"{environment}: {result.steps_per_second:,.0f} environment steps/s while training")
    for worker, shares in enumerate(result.seconds_per_worker):
        total = sum(shares.values())
        words = ", ".join(f"{name} {100 * seconds / max(total, 1e-9):.0f} %" for name, seconds in shares.items())
        click.echo(f"  worker {worker}: {words}")
    click.echo(
        "  (step: inside the environment's own step; act: choosing actions, storing; learn: loss, gradient, update)"
    )
