"""A process that judges weights by greedy episodes from fixed seeds, while the workers train on."""

from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast

import torch

from marl.acting.collect import Acts
from marl.acting.evaluate import Played, play
from marl.acting.policy import Policy
from marl.algorithms.build import build_network
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data import seeds
from marl.environments.vector import Environments, make_environments
from marl.processes.group import ProcessGroup
from marl.training.flat import flatten

MAX_PARALLEL = 64  # environments that play side by side


class Verdict(NamedTuple):
    """What a snapshot's policy earned."""

    snapshot: Snapshot
    mean: float
    std: float
    cut: int = 0  # episodes that did not end by themselves


class Evaluator:
    """The main process's view of the judging process; it is started when first needed."""

    NAME = "evaluator"

    def __init__(self, config: Config, group: ProcessGroup) -> None:
        self._config = config
        self._group = group
        self._under_way: Snapshot | None = None

    @property
    def busy(self) -> bool:
        """Whether a verdict is still to come."""
        return self._under_way is not None

    def submit(self, snapshot: Snapshot) -> None:
        """Ask for a verdict; only one at a time."""
        if self.NAME not in self._group.members:
            self._group.start(self.NAME, judge, self._config)
        self._under_way = snapshot
        self._group.send(self.NAME, (snapshot.tensors["weights"].numpy(), snapshot.statistics()))

    def verdict(self, seconds: float = 0.0) -> Verdict | None:
        """The verdict, if it comes within so many seconds; if not, ``busy`` tells whether one is still to come."""
        snapshot, played = self._under_way, self._group.receive(self.NAME, seconds)
        if played is not None or self.NAME not in self._group.members:  # the group's ``check`` has told why it died
            self._under_way = None
        if snapshot is None or played is None:
            return None
        return Verdict(snapshot, float(played.returns.mean()), float(played.returns.std()), played.cut)


def judge(pipe: Connection, config: Config) -> None:
    """Answer weights with returns until the pipe closes."""
    torch.set_num_threads(1)
    settings = config.evaluation
    count = min(settings.episodes, MAX_PARALLEL)
    environments = make_environments(config.environment, count)
    network = build_network(config.algorithm, environments.spaces, config.network)
    flat = flatten(network)
    while True:
        weights, statistics = pipe.recv()
        flat.weights.copy_(torch.from_numpy(weights))
        policy = Policy(cast(Acts, network), environments.spaces, statistics, {})
        pipe.send(evaluation_of(policy, environments, config))


def evaluation_of(policy: Policy, environments: Environments, config: Config) -> Played:
    """The run's own evaluation: always the same seeds."""
    words: dict[str, Any] = {"child": 0, "worker": 0, "purpose": seeds.EVALUATION, "segment": 0}
    sequence = seeds.stream(config.seed or 0, **words)
    return play(
        policy,
        environments,
        episodes=config.evaluation.episodes,
        seeds=seeds.integers(sequence, environments.count),
        greedy=config.evaluation.greedy,
        seed=seeds.integer(sequence),
    )
