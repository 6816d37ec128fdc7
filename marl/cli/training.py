"""The options of a training run, and the run that they ask for."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from marl.cli.options import (
    ALLOW,
    DEBUG,
    SEED,
    SET,
    ExchangeName,
    collect_settings,
    complete_algorithm,
    environment_argument,
)
from marl.cli.outcome import as_object, in_words
from marl.exchanges.names import AUTO, EXCHANGES

if TYPE_CHECKING:
    from marl.cluster.fleets.cluster_settings import Cluster


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every option of a training run on this machine."""
    decorators = [
        environment_argument(required=False),
        click.option(
            "--algorithm",
            metavar="NAME",
            shell_complete=complete_algorithm,
            help="How to learn: a3c, ppo, impala, apex_dqn, sac, or your own package.module:Class.  "
            "[default: the preset's, else ppo]",
        ),
        click.option(
            "--exchange",
            type=ExchangeName([*EXCHANGES, AUTO]),
            help="What is shared: weights of nodes that learn, or what one learner needs; auto: what should be fastest "
            "with these children; or your own package.module:Class.  [default: the algorithm's, and on children auto "
            "where nothing of the exchange is set]",
        ),
        SEED,
        click.option("--steps", type=click.IntRange(min=1), help="Stop after this many environment steps."),
        click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after this many minutes."),
        click.option("--episodes", type=click.IntRange(min=1), help="Stop after this many episodes."),
        click.option("--workers", type=click.IntRange(min=1), help="Worker processes.  [default: one a core]"),
        SET,
        click.option("--resume", metavar="RUN", help="Go on with a run, as if it had never stopped."),
        click.option("--init", metavar="WEIGHTS", help="Start from a weights file instead of random weights."),
        click.option(
            "--out", metavar="FILE", help="Where the weights go.  [default: weights.pt; with --resume as before]"
        ),
        click.option("--runs", metavar="FOLDER", help="Folder of the run folders.  [default: runs]"),
        click.option("--deterministic", is_flag=True, help="Same seed, same weights, bit for bit; uses one worker."),
        click.option(
            "--look/--no-look",
            default=True,
            help="Choose settings by a look at ENV, where no preset is.  [default: look]",
        ),
        click.option("--plain", is_flag=True, help="Lines instead of a live table."),
        click.option("--quiet", is_flag=True, help="Show nothing while training."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else."),
        ALLOW,
        DEBUG,
    ]
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


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
    out: str | None,
    runs: str | None,
    deterministic: bool,
    look: bool,
    plain: bool,
    quiet: bool,
    as_json: bool,
    allow: tuple[str, ...],
    debug: bool,
) -> None:
    """Train as the options say, on this machine or on ``cluster``; they override ``parameters``, which are settings."""
    from marl.loading import loading
    from marl.processes.bootstrap import start_forkserver

    if cluster is None:
        start_forkserver("marl.cluster.worker")  # first of all: it loads torch while this process does
    with loading(for_good=True):
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
        from marl.api import train as api_train
    if resume is not None:
        parameters = None
    source: str | None = environment if environment is not None or resume is not None else "CartPole-v1"
    if parameters:
        parameters = dict(parameters)
        named = parameters.pop("environment.id", None)
        if environment is None:
            source = str(named or source)
            settings = {**parameters, **settings}
    result = api_train(
        source,
        settings=settings,
        resume=resume,
        init=init,
        out=out,
        live=not (quiet or as_json),
        plain=plain,
        look=look,
        cluster=cluster,
        allow=allow,
    )
    click.echo(json.dumps(as_object(result)) if as_json else in_words(result))
    if result.failure is not None:
        raise click.ClickException(result.failure)
    if result.signal is not None:
        sys.exit(128 + result.signal)  # as a shell reports a process that a signal ended
