"""What playing and learning cost on this machine, measured in a moment with the run's own parts."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch

from marl.acting.collect import Collector
from marl.algorithms.base import Algorithm, Moment
from marl.algorithms.build import build_network, make_sampler
from marl.config.settings import Config
from marl.data.trajectory import Trajectory
from marl.environments.vector import Environments, make_environments
from marl.networks.contract import Acts
from marl.networks.sampling import Rank
from marl.plugins import foreign_code
from marl.processes.signals import raising
from marl.processes.threads import one_thread
from marl.training.flat import flatten
from marl.training.learned_weights import clipped_gradient
from marl.training.optimizers import make_optimizer
from marl.wire.probe import standard_work

FEWEST_STEPS = 4  # of a measured trajectory
SHARES = 4  # the smaller measurement has a quarter of the environments


class Line(NamedTuple):
    """Seconds that grow with a count: ``fixed + each * count``."""

    fixed: float
    each: float

    def at(self, count: float) -> float:
        """Seconds for this count."""
        return self.fixed + self.each * count


class Costs(NamedTuple):
    """Seconds of one worker of this machine, with one thread."""

    step: Line  # one step of so many environments, acting included
    update: Line  # one update from a minibatch of so many transitions
    updates: int  # of one trajectory
    work_seconds: float  # the standard work, to compare with other machines


def measure(config: Config, seconds: float, clock: Callable[[], float] = time.perf_counter) -> Costs:
    """Play and learn for about ``seconds``, with all environments of a worker and with a quarter of them.

    Raises:
        EnvironmentFault, MissingExtra: the environment fails.
    """
    rows = config.environment.per_worker
    steps: list[tuple[float, float]] = []
    updates: list[tuple[float, float]] = []
    made = 0
    counts = sorted({max(1, rows // SHARES), rows})
    with one_thread(), raising(), foreign_code(config.environment.id):
        for count in counts:
            with _worker(config, count) as worker:
                steps.append((count, worker.time_of_a_step(0.5 * seconds / len(counts), clock)))
                made, transitions, passed = worker.time_of_an_update(clock)
                updates.append((transitions, passed))
        work = standard_work()
    return Costs(line_through(steps), line_through(updates), made, work)


def line_through(points: Sequence[tuple[float, float]]) -> Line:
    """The line through the first and the last of (count, seconds); neither of its numbers is below 0."""
    (few, short), (many, long) = points[0], points[-1]
    if many <= few or long <= short:
        return Line(long, 0.0)
    each = min((long - short) / (many - few), long / many)
    return Line(long - each * many, each)


class _Worker:
    """One worker's parts, without the memory that workers share."""

    def __init__(self, config: Config, environments: Environments) -> None:
        self._config, self._environments = config, environments
        self._algorithm: Algorithm = config.algorithm
        self._network = build_network(config.algorithm, environments.spaces, config.network, config.seed or 0)
        self._local = flatten(self._network)
        size = self._local.gradient.numel()
        self._optimizer = make_optimizer(config.optimizer, torch.zeros(2, size), torch.zeros(1))
        self._generator = torch.Generator().manual_seed(0)
        self._trajectory: Trajectory | None = None

    def time_of_a_step(self, seconds: float, clock: Callable[[], float]) -> float:
        """Seconds of one step of all environments, over as many as pass in ``seconds``, one trajectory at most."""
        first = self._played(FEWEST_STEPS, clock)
        longest = self._config.algorithm.t_max
        length = int(min(longest, max(FEWEST_STEPS, seconds / max(first, 1e-9))))
        return self._played(length, clock)

    def _played(self, length: int, clock: Callable[[], float]) -> float:
        collector = Collector(
            self._environments,
            length=length,
            discount=self._algorithm.discount,
            reward_scale=self._config.environment.reward_scale,
            reward_clip=self._config.environment.reward_clip,
            generator=self._generator,
            seeds=list(range(self._environments.count)),
            sampler=make_sampler(self._algorithm, self._config.exploration, self._network, Rank(0, 1)),
        )
        began = clock()
        self._trajectory, _ = collector.collect(cast(Acts, self._network), None, 0)
        return (clock() - began) / length

    def time_of_an_update(self, clock: Callable[[], float]) -> tuple[int, float, float]:
        """Updates of one trajectory, transitions of each, and seconds of each."""
        assert self._trajectory is not None
        passed, made, transitions = 0.0, 0, 0.0
        for timed in (False, True):  # the first pass builds what torch keeps
            made, transitions, began = 0, 0.0, clock()
            for batch in self._algorithm.minibatches(self._network, self._trajectory, Moment(0.0, self._generator)):
                clipped_gradient(self._local, self._algorithm.loss(self._network, batch), 1.0)
                self._optimizer.step(self._local.weights[: self._local.gradient.numel()], self._local.gradient, 1e-9)
                made, transitions = made + 1, transitions + self._algorithm.count(batch)
            if timed:
                passed = clock() - began
        return made, transitions / max(made, 1), passed / max(made, 1)


@contextmanager
def _worker(config: Config, count: int) -> Iterator[_Worker]:
    environments = make_environments(config.environment, count, training=True)
    try:
        yield _Worker(config, environments)
    finally:
        environments.close()
