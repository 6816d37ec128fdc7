"""A process that evaluates weights by whole episodes, while the workers train on."""

from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast

import torch

from marl import seeds
from marl.acting.evaluate import Played, play
from marl.acting.policy import Policy
from marl.algorithms.build import build_network
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data.layout import Leaf, Values
from marl.data.normalizer import as_row, from_row, num_columns
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.environments.vector import Array, Environments, Step, make_environments
from marl.networks.contract import Acts
from marl.processes.ending import close_at_the_end
from marl.processes.group import ProcessGroup
from marl.training.flat import flatten

MAX_PARALLEL = 64  # environments that play side by side
OWN_SEEDS = 0  # the set of seeds with which weights are compared; the final episodes use later sets


class Score(NamedTuple):
    """The returns of a snapshot's policy."""

    snapshot: Snapshot
    mean: float
    std: float
    cut: int = 0  # episodes that did not end by themselves
    limit: int | None = None  # the request's


class Request(NamedTuple):
    """What to play with the weights that lie in shared memory."""

    normalized: bool  # whether statistics of observations lie there too
    episodes: int
    seed_set: int  # OWN_SEEDS, or 1, 2, ...
    max_steps: int | None  # limit of environment steps; if they do not suffice, the answer is OUT_OF_STEPS
    limit: int | None  # steps after which an episode is cut, if nothing else limits it; None: ``MAX_EPISODE_STEPS``


OUT_OF_STEPS = "out of steps"


class Evaluator:
    """The main process's view of the evaluating process; it is started when first needed."""

    NAME = "evaluator"

    def __init__(self, config: Config, spaces: Spaces, group: ProcessGroup) -> None:
        self._config, self._spaces, self._group = config, spaces, group
        self._block: SharedBlock | None = None
        self._under_way: Snapshot | None = None
        self._limit: int | None = None  # of the last request

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._under_way is not None

    def submit(
        self,
        snapshot: Snapshot,
        *,
        episodes: int | None = None,
        seed_set: int = OWN_SEEDS,
        max_steps: int | None = None,
        limit: int | None = None,
    ) -> None:
        """Ask for an evaluation, by default of ``evaluation.episodes`` episodes; only one at a time.

        The weights go through shared memory: a pipe would become full, and block this process until the evaluator has
        made its environments.
        """
        weights, statistics = snapshot.tensors["weights"], snapshot.statistics()
        if self._block is None:
            columns = num_columns(self._spaces.measured_size)
            fields = {"weights": Leaf(tuple(weights.shape), weights.dtype)}
            self._block = SharedBlock({**fields, "observations": Leaf((columns,), torch.float64)})
        self._block["weights"].copy_(weights)
        if statistics is not None:
            self._block["observations"].copy_(torch.from_numpy(as_row(statistics)))
        if self.NAME not in self._group.members:
            self._group.start(self.NAME, evaluate, self._config, self._block)
        self._under_way = snapshot
        count = self._config.evaluation.episodes if episodes is None else episodes
        self._group.send(self.NAME, Request(statistics is not None, count, seed_set, max_steps, limit))
        self._limit = limit

    def forget(self) -> None:
        """Drop the request that is under way: no answer will come."""
        self._under_way = None

    def played(self, seconds: float = 0.0) -> Played | None:
        """The answer, if it comes within ``seconds``; if not, ``busy`` tells whether it is still to come."""
        answer = self._group.receive(self.NAME, seconds)
        if answer is not None or self.NAME not in self._group.members:  # the group's ``check`` has told why it died
            self._under_way = None
        return answer if isinstance(answer, Played) else None

    def score(self, seconds: float = 0.0) -> Score | None:
        """The score of the submitted weights, if it comes within ``seconds``."""
        snapshot, played = self._under_way, self.played(seconds)
        return None if snapshot is None or played is None else score_of(snapshot, played, self._limit)


def score_of(snapshot: Snapshot, played: Played, limit: int | None = None) -> Score:
    """The score of a snapshot whose policy played these episodes.

    Args:
        limit: steps after which an episode was cut; None: ``MAX_EPISODE_STEPS``.
    """
    return Score(snapshot, float(played.returns.mean()), float(played.returns.std()), played.cut, limit)


def parallel(config: Config) -> int:
    """How many environments the evaluating process has."""
    return min(config.evaluation.episodes, MAX_PARALLEL)


def evaluate(pipe: Connection, config: Config, block: SharedBlock) -> None:
    """Answer requests until the pipe closes."""
    torch.set_num_threads(1)
    environments = close_at_the_end(make_environments(config.environment, parallel(config)))
    network = build_network(config.algorithm, environments.spaces, config.network)
    flat = flatten(network)
    while True:
        request: Request = pipe.recv()
        flat.weights.copy_(block["weights"])
        statistics = from_row(block["observations"].numpy().copy()) if request.normalized else None
        policy = Policy(cast(Acts, network), environments.spaces, statistics, {})
        try:
            pipe.send(_answer(request, policy, environments, config))
        except _OutOfSteps:
            pipe.send(OUT_OF_STEPS)


def _answer(request: Request, policy: Policy, environments: Environments, config: Config) -> Played:
    words: dict[str, Any] = {"child": 0, "worker": 0, "purpose": seeds.EVALUATION, "interval": request.seed_set}
    sequence = seeds.stream(config.seed or 0, **words)
    limited = environments if request.max_steps is None else _Limited(environments, request.max_steps)
    return play(
        policy,
        cast(Environments, limited),
        episodes=request.episodes,
        seeds=seeds.integers(sequence, environments.count),
        greedy=config.evaluation.greedy,
        seed=seeds.integer(sequence),
        limit=None if environments.is_limited else request.limit,
    )


class _OutOfSteps(Exception):
    """An evaluation takes more steps than it may."""


class _Limited:
    """Environments with a limit on their steps: unlike a time limit, it does not depend on the speed of a step."""

    def __init__(self, environments: Environments, max_steps: int) -> None:
        self.count = environments.count
        self._environments, self._left = environments, max_steps

    def reset(self, seeds: list[int] | None = None) -> Values:
        return self._environments.reset(seeds)

    def step(self, actions: Array) -> Step:
        self._left -= self.count
        if self._left < 0:
            raise _OutOfSteps
        return self._environments.step(actions)
