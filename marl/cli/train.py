"""``marl train`` and the single-machine script."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from marl.cli.addresses import TakesAddresses
from marl.cli.options import ALLOW, DEBUG, SEED, SET, collect_settings, complete_algorithm, environment_argument

if TYPE_CHECKING:
    from marl.api import TrainResult
    from marl.cluster.plan import Cluster


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every option of a training run on this machine."""
    decorators = [
        environment_argument(required=False),
        click.option(
            "--algorithm",
            metavar="NAME",
            shell_complete=complete_algorithm,
            help="How to learn: a3c, ppo, impala, apex_dqn, sac, or your own package.module:Class.  "
            "[default: the preset's, else a3c]",
        ),
        click.option(
            "--exchange",
            type=click.Choice(["weights", "pairwise", "experience", "observations"]),
            help="What is shared: weights of nodes that learn, or what one learner needs.  [default: the algorithm's]",
        ),
        SEED,
        click.option("--steps", type=click.IntRange(min=1), help="Stop after this many environment steps."),
        click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so many minutes."),
        click.option("--episodes", type=click.IntRange(min=1), help="Stop after this many episodes."),
        click.option("--workers", type=click.IntRange(min=1), help="Worker processes.  [default: one a core]"),
        SET,
        click.option("--resume", metavar="RUN", help="Go on with a run, as if it had never stopped."),
        click.option("--init", metavar="WEIGHTS", help="Start from a weights file instead of random weights."),
        click.option("--out", metavar="FILE", default="weights.pt", show_default=True, help="Where the weights go."),
        click.option("--runs", metavar="FOLDER", help="Folder of the run folders.  [default: runs]"),
        click.option("--deterministic", is_flag=True, help="Same seed, same weights, bit for bit; uses one worker."),
        click.option("--plain", is_flag=True, help="Lines instead of a live table."),
        click.option("--quiet", is_flag=True, help="Show nothing while training."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else."),
        ALLOW,
        DEBUG,
    ]
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


@click.command(cls=TakesAddresses)
@click.option("--children", metavar="ADDRESS...", multiple=True, help="Train on these children, as marl parent does.")
@click.option("--port", type=click.IntRange(1, 65535), default=5050, help="Of children whose address has none.")
@click.option("--local", metavar="N", type=click.IntRange(min=1), help="Start N children on this machine.")
@training_options
def train(children: tuple[str, ...], port: int, local: int | None, **options: Any) -> None:
    """Train a policy with all cores of this machine, or on children (marl parent has more options for that).

    ENV is any gymnasium id, package.module:Id-v0, or package.module:factory; a PRESET is an environment with tuned
    settings (marl presets lists them); FILE is a TOML file of settings. Without any: CartPole-v1 until
    solved.

    \b
    marl train LunarLander-v3
    marl train CartPole-v1 --seed 1 --set algorithm.learning_rate=1e-3
    marl train my_package.games:Snake --steps 1000000
    marl train --resume runs/LunarLander-v3-20260101-120000
    """
    if children or local:
        from marl.cli.parent import run_parent

        return run_parent(children=children, port=port, local=local, **options)
    run_training(**options)


def run_training(
    parameters: Mapping[str, Any] | None = None,
    *,
    cluster: "Cluster | None" = None,
    environment: str | None,
    algorithm: str | None,
    exchange: str | None,
    seed: int | None,
    steps: int | None,
    minutes: float | None,
    episodes: int | None,
    workers: int | None,
    overrides: tuple[str, ...],
    resume: str | None,
    init: str | None,
    out: str,
    runs: str | None,
    deterministic: bool,
    plain: bool,
    quiet: bool,
    as_json: bool,
    allow: tuple[str, ...],
    debug: bool,
) -> None:
    """Train as the options say, on this machine or on ``cluster``; they override ``parameters``, which are settings."""
    from marl.processes.bootstrap import start_forkserver

    if cluster is None:
        start_forkserver("marl.cluster.worker")  # first of all: it loads torch while this process does
    settings = collect_settings(
        overrides,
        algorithm__name=algorithm,
        exchange__name=exchange,
        seed=seed,
        stop__steps=steps,
        stop__minutes=minutes,
        stop__episodes=episodes,
        node__workers=workers,
        report__runs=runs,
        deterministic=deterministic or None,
    )
    if resume is not None:
        parameters = None
    source: str | None = environment if environment is not None or resume is not None else "CartPole-v1"
    if parameters:
        parameters = dict(parameters)
        named = parameters.pop("environment.id", None)
        if environment is None:
            source = str(named or source)
            settings = {**parameters, **settings}
    from marl.api import train as api_train

    result = api_train(
        source,
        settings=settings,
        resume=resume,
        init=init,
        out=out,
        live=not (quiet or as_json),
        plain=plain,
        cluster=cluster,
        allow=allow,
    )
    click.echo(json.dumps(_as_json(result)) if as_json else _in_words(result))
    if result.failure is not None:
        raise click.ClickException(result.failure)
    if result.signal is not None:
        sys.exit(128 + result.signal)  # as a shell reports a process that a signal ended


def _in_words(result: "TrainResult") -> str:
    from marl.reports.numbers import number_text

    if result.reason == "finished":
        return (
            f"Nothing to do: {result.run} has reached its end ({result.steps:,} steps, {result.seconds:.1f} s, "
            f"{result.episodes:,} episodes); give it a later one, such as --steps. The policy is in {result.weights}."
        )
    head = "Solved" if result.solved else f"Ended ({result.reason})"
    parts = [f"{head} after {result.seconds:.1f} s, {result.steps:,} steps, {result.episodes:,} episodes"]
    if result.return_mean is not None:
        over = f"the last {result.return_episodes} episodes" if result.return_episodes > 1 else "the only episode"
        parts.append(f"return {number_text(result.return_mean)} over {over} of training")
    parts.append(_evaluation_in_words(result))
    return (
        ", ".join(parts)
        + f".\nRun folder {result.run}; the policy is in {result.weights}: marl evaluate {result.weights}"
    )


def _evaluation_in_words(result: "TrainResult") -> str:
    why = f" ({result.evaluation_lacking})" if result.evaluation_lacking else ""
    if result.evaluation_mean is None or result.evaluation_interval is None:
        return f"not evaluated{why}"
    from marl.reports.numbers import decimals, number_text

    numbers = (result.evaluation_mean, *result.evaluation_interval)
    mean, low, high = (number_text(each, decimals(*numbers)) for each in numbers)
    return f"{mean} over {result.evaluation_episodes} fresh episodes of evaluation{why}, 95 % interval {low} to {high}"


def _as_json(result: "TrainResult") -> dict[str, Any]:
    started = _process_started_at()
    first = result.first_update_at
    return {
        **{key: str(value) if isinstance(value, Path) else value for key, value in result._asdict().items()},
        "seconds_from_process_start": result.training_ended_at - started,
        "first_update_seconds": None if first is None else first - started,
    }


def _process_started_at() -> float:
    """time.time() at which this process started, as the operating system counts; else, now."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()
