"""``marl check``."""

import click

from marl.cli.options import ALLOW, DEBUG, SET, collect_settings, environment_argument


@click.command()
@environment_argument(required=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the trial episodes.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Of each speed trial.")
@SET
@ALLOW
@DEBUG
def check(
    environment: str, seed: int, seconds: float, overrides: tuple[str, ...], allow: tuple[str, ...], debug: bool
) -> None:
    """Say what is wrong with an environment and how many steps a second it gives."""
    from marl.config.files import is_bare_name, load_config
    from marl.environments.check import examine
    from marl.plugins import foreign_code
    from marl.processes.signals import raising

    given = collect_settings(overrides)
    settings = load_config(environment, given, allow=allow).environment
    looks = is_bare_name(environment, given.get("algorithm.name")) and settings.backend == "gymnasium"
    with raising(), foreign_code(environment):
        report = examine(settings, seed=seed, seconds=seconds, looks=looks)
    for line in report.facts:
        click.echo(f"  {line}")
    for line in report.warnings:
        click.echo(click.style("  warning: ", fg="yellow") + line)
    for line in report.problems:
        click.echo(click.style("  problem: ", fg="red") + line)
    if report.problems:
        count = len(report.problems)
        raise click.ClickException(f"{environment}: {count} problem{'s' * (count > 1)}, see above")
    click.echo(f"{environment} is fit for training.")
