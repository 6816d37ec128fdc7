"""What a user's own program imports: ``train``, ``evaluate``, ``load``, ``export``, ``serve``; the commands call them.

    from marl.api import train, evaluate, load

    result = train("CartPole-v1")
    print(evaluate(result.weights).mean)
    policy = load(result.weights)
    action = policy.act(observation)

Nothing heavy is imported until it is used: the workers' forkserver has to start loading torch before this process does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marl.cluster.fleets.cluster_settings import Cluster
from marl.cluster.fleets.ray.settings import RaySettings
from marl.trust.options import TrustOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from marl.acting.policy import Policy
    from marl.reports.events import Event
    from marl.reports.plots.distribution import Summary
    from marl.wire.endpoint import Endpoint

__all__ = [
    "Cluster",
    "Evaluation",
    "RaySettings",
    "TrainResult",
    "TrustOptions",
    "evaluate",
    "export",
    "load",
    "serve",
    "train",
]


class TrainResult(NamedTuple):
    """How a run ended and what it left."""

    reason: (
        str  # why it ended: "solved", "steps", "minutes", "episodes", "stopped", or "finished" before it was resumed
    )
    solved: bool
    weights: Path  # the weights file
    run: Path  # the run folder
    seconds: float  # of training, resumed runs included
    steps: int
    episodes: int
    updates: int
    steps_per_second: float  # over this run
    return_mean: float | None  # of the last training episodes
    return_episodes: int  # how many they are: 100, unless fewer were finished
    evaluation_mean: float | None  # of the weights that were kept, over episodes that no decision has seen
    evaluation_interval: tuple[float, float] | None  # of that mean, 95 %, by bootstrap
    evaluation_episodes: int
    evaluation_lacking: str  # why there are fewer than evaluation.final_episodes; "" if there are not
    first_update_at: float | None  # time.time() of the first optimizer step
    training_started_at: float  # time.time() when the workers were started
    training_ended_at: float  # when the environment was solved, or else training ended
    seconds_per_worker: list[dict[str, float]]  # where each worker's time went: step, act, learn
    failure: str | None  # why a command would end with code 1 all the same: weights are elsewhere, nothing was learned
    signal: int | None  # number of the signal that stopped it
    virtual_seconds: float | None = None  # of training, resumed runs included; only with clock.virtual


class Evaluation(NamedTuple):
    """Un-normalised episode returns of a policy, and their summary."""

    returns: npt.NDArray[np.float64]  # [episodes]
    summary: Summary
    environment: str  # id of what was played
    algorithm: str  # name of what the policy was trained with
    greedy: bool = True  # the most likely actions, not drawn ones

    @property
    def mean(self) -> float:
        """Mean return."""
        return self.summary.mean


def train(
    source: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    resume: str | Path | None = None,
    init: str | Path | None = None,
    out: str | Path | None = None,
    live: bool = True,
    plain: bool = False,
    look: bool = True,
    cluster: Cluster | None = None,
    allow: Sequence[str] = (),
    callback: Callable[[Event], object] | None = None,
) -> TrainResult:
    """Train one policy with all cores of this machine, or on children, and write its weights file.

    Args:
        source: an environment's id, a preset's name or a TOML file; default CartPole-v1.
        settings: single settings by their path, such as ``{"algorithm.learning_rate": 1e-3}``; they win.
        resume: a run folder to go on from, instead of ``source``.
        init: a weights file to start from instead of random weights.
        out: where the weights are written; None: ``weights.pt``, or where a resumed run was told to write them.
        live: show progress; ``plain`` prints lines even on a terminal.
        look: where ``source`` has no preset, look at it for two seconds and choose settings that fit; ``settings`` win.
        cluster: children to train on, such as ``Cluster(children=("10.0.0.7",))`` or ``Cluster(local=2)`` or
            ``Cluster(ray=RaySettings(nodes=(2, 16)))``; with
            ``endpoints``, those that links of your own reach; with ``fleets``, those that fleets of your own bring.
        allow: modules whose code files may name (``source``, ``resume``) that you did not write on this machine.
        callback: is told every event of the run (``marl.reports.events``), in a thread of its own; ``False`` ends the
            run, with all that is saved at an end.

    Raises:
        MarlError: anything the user can mend; its text is one line that says how.
    """
    from marl.loading import loading
    from marl.processes.bootstrap import start_forkserver

    settings = dict(settings or {})
    with contextlib.ExitStack() as stack:
        fleet = None
        if cluster is not None:
            from marl.cluster.fleets.make_fleet import make_fleet

            fleet = stack.enter_context(contextlib.closing(make_fleet(cluster)))
        start_forkserver("marl.cluster.worker")
        with loading():
            from marl.cluster.runs.run import run
            from marl.processes.threads import one_thread

        stack.enter_context(one_thread())
        outcome = run(
            source,
            settings,
            fleet=fleet,
            wait_s=0.0 if cluster is None else cluster.wait_s,
            resume=resume,
            init=init,
            out=None if out is None else Path(out),
            live=live,
            plain=plain,
            look=look,
            allow=tuple(allow),
            callback=callback,
        )
    return TrainResult(**outcome)


def evaluate(
    weights: str | Path,
    *,
    environment: str | None = None,
    activation: str | None = None,
    episodes: int = 100,
    seed: int = 0,
    greedy: bool | None = None,
    parallel: int = 64,
    allow: Sequence[str] = (),
) -> Evaluation:
    """Play episodes with a trained policy and say how its un-normalised returns are distributed.

    Args:
        environment: to play in, with the same spaces; None: the one it was trained in.
        activation: of the hidden layers of a policy of stable-baselines3, which its file does not say: "tanh", "relu",
            "elu" or "leaky_relu"; None: the default of its algorithm.
        greedy: whether to take the most likely actions instead of drawing them; None: as the training's evaluation did
            (``evaluation.greedy``).
        allow: modules whose code the file may name if you did not write it here, such as ``("my_package",)``.

    Raises:
        WeightsFileError: the file cannot be read.
        PluginError: it names code that is not allowed.
        EnvironmentFault: its environment cannot be made here.
    """
    from marl.cluster.runs.restore import play_restored, restore
    from marl.reports.plots.distribution import summarize

    restored = restore(weights, environment=environment, activation=activation, allow=tuple(allow))
    greedy = restored.greedy if greedy is None else greedy
    returns, cut, _ = play_restored(restored, weights, episodes=episodes, seed=seed, greedy=greedy, parallel=parallel)
    return Evaluation(returns, summarize(returns, seed, cut=cut), restored.environment.id, restored.algorithm, greedy)


def load(
    weights: str | Path,
    *,
    environment: str | None = None,
    activation: str | None = None,
    allow: Sequence[str] = (),
) -> Policy:
    """A trained policy: ``load("weights.pt").act(observation)``; the normaliser is part of it.

    One that remembers earlier steps is told by ``reset`` where an episode begins.

    Args:
        environment: of a policy of stable-baselines3, which its file does not say.
        activation: see ``evaluate``.
        allow: modules whose code the file may name if you did not write it on this machine.

    Raises:
        WeightsFileError: the file cannot be read.
        PluginError: it names code that is not allowed.
    """
    from marl.cluster.runs.restore import restore

    return restore(weights, environment=environment, activation=activation, allow=tuple(allow)).policy


def export(
    weights: str | Path,
    form: str,
    *,
    out: str | Path | None = None,
    environment: str | None = None,
    activation: str | None = None,
    allow: Sequence[str] = (),
) -> Path:
    """Write a trained policy in another format, and return where: the normaliser and the action's range are inside.

    Args:
        form: "onnx", "torchscript" or "safetensors".
        out: the file; None: beside the weights, or here where they lie in a run folder.
        environment: see ``load``.
        activation: see ``evaluate``.
        allow: modules whose code the file may name if you did not write it on this machine.

    Raises:
        ConfigError: there is no such format, or no file can be written there.
        MissingExtra: a package that the format needs is not installed.
        WeightsFileError: the weights cannot be read.
        PluginError: they name code that is not allowed.
        ExportFailed: the format cannot hold the network.
    """
    from marl.exporting.export import export_policy, place_for

    path = place_for(weights, form, out)
    export_policy(load(weights, environment=environment, activation=activation, allow=allow), form, path)
    return path


def serve(
    endpoint: Endpoint,
    *,
    name: str,
    workers: int = 0,
    orphan_s: float = 300.0,
    allow: Sequence[str] = (),
    live: bool = True,
) -> None:
    """Offer this machine to the parents that ``endpoint`` meets, until a signal says stop; from the main thread only.

    It is what ``marl child`` does, with a link of your own. A parent has the other end in ``Cluster(endpoints=...)``.

    Args:
        name: of this child; no two of a run have the same.
        workers: 0: all cores but one, at least one.
        orphan_s: seconds to train on alone when the parent is gone.
        allow: modules from which a parent may name environments, algorithms and other parts.
        live: show what happens.

    Raises:
        MarlError: the endpoint can meet nobody, and another try would end the same.
    """
    from marl.processes.bootstrap import start_forkserver

    start_forkserver("marl.cluster.worker")
    from marl.cluster.child import ChildSettings, serve_parents
    from marl.reports.sinks.child_view import ChildView
    from marl.trust.home import marl_home

    settings = ChildSettings(workers=workers, orphan_s=orphan_s, allow=tuple(allow))
    serve_parents(endpoint, settings, name, marl_home(), {"terminal": ChildView()} if live else {})
