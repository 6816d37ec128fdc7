"""``marl evaluate`` and the root script that shows a policy's returns."""

import json
import os
from pathlib import Path

import click

from marl.cli.options import ACTIVATION, ALLOW, DEBUG


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("weights", metavar="[WEIGHTS]", default="weights.pt")
@click.option("--env", "environment", metavar="ENV", help="Play in this environment.  [default: that of the training]")
@ACTIVATION
@click.option("--episodes", type=click.IntRange(min=1), default=100, show_default=True, help="Episodes to play.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the episodes' starts.")
@click.option(
    "--sampled/--most-likely",
    default=None,
    help="Draw actions, or take the most likely.  [default: as training's evaluation did, evaluation.greedy]",
)
@click.option("--parallel", type=click.IntRange(min=1), default=64, show_default=True, help="Episodes side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option(
    "--picture",
    metavar="FILE",
    help="Where the histogram goes.  [default: beside the weights, .png; here for those in a run folder]",
)
@click.option("--no-picture", is_flag=True, help="Draw no picture.")
@click.option("--render", is_flag=True, help="Watch one episode in a window.")
@click.option("--video", metavar="FOLDER", help="Record one episode into this folder (extra: video).")
@ALLOW
@DEBUG
def evaluate(
    weights: str,
    environment: str | None,
    activation: str | None,
    episodes: int,
    seed: int,
    sampled: bool | None,
    parallel: int,
    as_json: bool,
    picture: str | None,
    no_picture: bool,
    render: bool,
    video: str | None,
    allow: tuple[str, ...],
    debug: bool,
) -> None:
    """Play many episodes with a trained policy and show how its un-normalised returns are distributed."""
    from marl.loading import loading

    with loading(for_good=True):
        from marl.api import evaluate as api_evaluate
        from marl.reports.numbers import number_text
        from marl.reports.run_folder import holds_run

    if render or video:
        from marl.cluster.runs.render import render_episode

        total = render_episode(
            weights,
            environment=environment,
            activation=activation,
            seed=seed,
            greedy=None if sampled is None else not sampled,
            video=video,
            allow=allow,
        )
        click.echo(f"return {number_text(total)}" + (f"; video in {video}" if video else ""))
        return
    wanted = picture is not None or not (as_json or no_picture)
    path = Path(picture or f"{os.path.splitext(weights)[0]}.png")
    if picture is None and holds_run(path.parent):
        path = Path(path.name)
    if wanted and (picture is not None or Path(weights).is_file()):
        from marl.reports.plots.draw import demand_picture

        demand_picture(path, "--picture")  # before any episode is played for it
    result = api_evaluate(
        weights,
        environment=environment,
        activation=activation,
        episodes=episodes,
        seed=seed,
        greedy=None if sampled is None else not sampled,
        parallel=parallel,
        allow=allow,
    )
    summary = result.summary
    if "stable-baselines3" in result.algorithm:
        note = "what the file does not say: the activation (--activation), statistics of VecNormalize (not used)"
        click.echo(f"{weights}: {result.algorithm}; {note}", err=as_json)
    if as_json:
        facts = {
            "environment": result.environment,
            "algorithm": result.algorithm,
            "seed": seed,
            "greedy": result.greedy,
        }
        click.echo(json.dumps({**summary._asdict(), **facts, "returns": (result.returns + 0.0).tolist()}))
    else:
        from marl.reports.plots.distribution import histogram_text, summary_text

        actions = "most likely" if result.greedy else "drawn"
        click.echo(f"{weights}: {episodes} episodes, {actions} actions, un-normalised returns\n")
        click.echo(summary_text(summary))
        click.echo("\n" + histogram_text(result.returns))
    if wanted:
        from marl.reports.plots.draw import histogram

        histogram(result.returns, summary, path, title=f"Returns of {Path(weights).name} over {episodes} episodes")
        click.echo(f"\nPicture: {path}", err=as_json)
