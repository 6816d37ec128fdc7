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
from marl.links.probe import standard_work
from marl.networks.contract import Acts
from marl.networks.sampling import Rank
from marl.plugins import foreign_code
from marl.processes.signals import raising
from marl.processes.threads import one_thread
from marl.training.flat import flatten
from marl.training.learned_weights import clipped_gradient
from marl.training.optimizers import make_optimizer

TRIES = 2  # of one step of one environment; the first has costs that come only once
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

    step: Line  # of one step, acting included, by the number of environments
    update: Line  # of one update, by the transitions of its minibatch
    updates: int  # of one trajectory, as long as it was here
    minibatch: float  # transitions of an update, for each step of the trajectory
    work_seconds: float  # the standard work, to compare with other machines
    assumed: str = ""  # what was not measured, for the user


class Updates(NamedTuple):
    """What was learned from one trajectory."""

    updates: int
    transitions: float  # of each
    seconds: float  # of each


class Sample(NamedTuple):
    """What some environments cost."""

    environments: int
    length: int  # steps of a trajectory
    step: float  # seconds of one, of all environments
    update: Updates


def measure(config: Config, seconds: float, clock: Callable[[], float] = time.perf_counter) -> Costs:
    """Play and learn for about ``seconds``, with all environments of a worker and with a quarter of them. Where a step
    of all takes longer than that, one environment stands for all, and plays one step twice.

    Raises:
        EnvironmentFault, MissingExtra: the environment fails.
    """
    rows = config.environment.per_worker
    counts = sorted({max(1, rows // SHARES), rows})
    with one_thread(), raising(), foreign_code(config.environment.id):
        one = _sample(config, 1, 1, clock, tries=TRIES)
        if slow := one.step * rows > seconds:
            samples = [one]
        else:
            samples = []
            for count in counts:
                length = int(min(config.algorithm.t_max, max(1.0, 0.25 * seconds / max(one.step * count, 1e-9))))
                samples.append(_sample(config, count, length, clock, seconds=seconds / len(counts)))
        work = standard_work()
    last = samples[-1]
    return Costs(
        Line(0.0, one.step) if slow else line_through([(each.environments, each.step) for each in samples]),
        line_through([(each.update.transitions, each.update.seconds) for each in samples]),
        last.update.updates,
        last.update.transitions / last.length * rows / last.environments,
        work,
        f"one environment takes {one.step:.2g} s a step, {rows} are taken to need {rows * one.step:.2g} s" * slow,
    )


def _sample(
    config: Config, environments: int, length: int, clock: Callable[[], float], *, seconds: float = 0.0, tries: int = 1
) -> Sample:
    """Play and learn for ``seconds``, and at least ``tries`` times. The least time counts: other programs only add to
    it.
    """
    with _worker(config, environments) as worker:
        until, steps, updates = clock() + seconds, list[float](), list[Updates]()
        while len(steps) < tries or clock() < until:
            steps.append(worker.time_of_a_step(length, clock))
            updates.append(worker.time_of_an_update(clock))
    return Sample(environments, length, min(steps), min(updates, key=lambda each: each.seconds))


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

    def time_of_a_step(self, length: int, clock: Callable[[], float]) -> float:
        """Seconds of one step of all environments, the mean over ``length`` steps."""
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

    def time_of_an_update(self, clock: Callable[[], float]) -> Updates:
        """What is learned from the trajectory that was played last."""
        assert self._trajectory is not None
        made, transitions, began = 0, 0.0, clock()
        for batch in self._algorithm.minibatches(self._network, self._trajectory, Moment(0.0, self._generator)):
            clipped_gradient(self._local, self._algorithm.loss(self._network, batch), 1.0)
            self._optimizer.step(self._local.weights[: self._local.gradient.numel()], self._local.gradient, 1e-9)
            made, transitions = made + 1, transitions + self._algorithm.count(batch)
        passed = clock() - began
        return Updates(made, transitions / max(made, 1), passed / max(made, 1))


@contextmanager
def _worker(config: Config, count: int) -> Iterator[_Worker]:
    environments = make_environments(config.environment, count, training=True)
    try:
        yield _Worker(config, environments)
    finally:
        environments.close()
