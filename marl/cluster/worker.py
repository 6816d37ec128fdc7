"""A worker process: its own environments and network, the node's shared weights."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import nn

from marl import seeds
from marl.acting.burn_in import BurnIn
from marl.acting.collect import Collector
from marl.acting.novelty import Novelty
from marl.acting.statistics import Rollouts, Statistics
from marl.algorithms.base import Algorithm
from marl.algorithms.build import build_network, make_sampler
from marl.config.settings import Config
from marl.data.node.memory import array
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.environments.vector import Environments, make_environments
from marl.exchanges.base import MakeMinibatches, MakeWeights
from marl.exchanges.run import RunSettings, replay_ratio
from marl.networks.contract import Acts
from marl.networks.sampling import Rank
from marl.processes.ending import close_at_the_end
from marl.processes.heap import tidily
from marl.training.busy_time import BusyTime
from marl.training.flat import flatten
from marl.training.hogwild import train
from marl.training.learned_weights import shared_weights
from marl.training.minibatches import Fresh, MinibatchSource, ReplayedTrajectories, ReplayedTransitions
from marl.training.schedule_length import schedule_length
from marl.training.worker_metrics import Telemetry


class Job(NamedTuple):
    """What a worker is told when it starts."""

    config: Config  # with a seed
    worker: int
    interval: int  # counts checkpoints and restarts: a restarted worker draws other random numbers
    child: int = 0  # rank among all children
    alone: bool = True  # no parent: this node's own count of steps ends the run
    workers: int = 1  # of this node
    children: int = 1


class IntervalEnd(NamedTuple):
    """Sent by a deterministic worker, which then waits for True (go on) or False."""

    interval: int  # number of the checkpoint interval that comes next


def work(pipe: Connection, job: Job, block: SharedBlock) -> None:
    """Do the worker's part in the run's exchange, until told to stop."""
    torch.set_num_threads(1)
    job.config.exchange.work(WorkerProcess(pipe, job, block))


class WorkerProcess:
    """See ``marl.exchanges.base.Worker``."""

    def __init__(self, pipe: Connection, job: Job, block: SharedBlock) -> None:
        self.run: RunSettings = job.config
        self.block, self.number, self.alone = block, job.worker, job.alone
        self.own_minibatches = _own_minibatches(job, block)
        self.busy = BusyTime(block, job.worker) if job.config.clock.virtual else None
        self._pipe, self._job = pipe, job

    def environments(self, count: int) -> Environments:
        """See ``Worker``."""
        return close_at_the_end(make_environments(self.run.environment, count, training=True))

    def seeds(self, count: int) -> list[int]:
        """See ``Worker``."""
        return reseed(self._job, self._job.interval, torch.Generator(), count)

    def learn(
        self,
        *,
        minibatches: MakeMinibatches | None = None,
        weights: MakeWeights | None = None,
        rest: Callable[[], int | None] = lambda: None,
        updates: int = 0,
    ) -> None:
        """See ``Worker``."""
        made = minibatches or self.own_minibatches
        _learn(self._pipe, self._job, self.block, made, weights, rest, updates, self.busy)


def _learn(
    pipe: Connection,
    job: Job,
    block: SharedBlock,
    minibatches: MakeMinibatches,
    weights: MakeWeights | None,
    rest: Callable[[], int | None],
    updates: int,
    busy: BusyTime | None,
) -> None:
    """Play and learn until told to stop."""
    config = job.config
    rank = Rank.among(job.worker, job.workers, job.child, job.children)
    algorithm = config.algorithm.for_worker(rank)
    if replay_ratio(config) or config.exploration.sampler:
        algorithm = algorithm.off_policy()
    environments = close_at_the_end(make_environments(config.environment, config.environment.per_worker, training=True))
    network = build_network(algorithm, environments.spaces, config.network)
    local = flatten(network)
    length = schedule_length(algorithm, config.stop)
    telemetry = Telemetry(block, job.worker, length, alone=job.alone, updates=0 if job.alone else updates)
    generator = torch.Generator()
    collector = Collector(
        environments,
        length=algorithm.t_max,
        discount=algorithm.discount,
        reward_scale=config.environment.reward_scale,
        reward_clip=config.environment.reward_clip,
        generator=generator,
        seeds=reseed(job, job.interval, generator, environments.count),
        sampler=make_sampler(config.algorithm, config.exploration, network, rank),
    )
    statistics = Statistics(
        block,
        job.worker,
        observations=config.environment.normalize_observations,
        rewards=config.environment.normalize_rewards,
        alone=job.alone,
    )
    overlap = algorithm.overlap()
    burn_in = BurnIn(cast(Acts, network), overlap) if overlap else None
    rollouts = Rollouts(collector, statistics, _novelty(job, environments.spaces), burn_in)

    def begin(interval: int) -> None:
        """Start a checkpoint interval as after a resume."""
        rollouts.reset(reseed(job, interval, generator, environments.count))

    def between() -> None:
        """Between two updates of a trajectory, rest as between two trajectories."""
        if telemetry.is_learning():
            rest() if busy is None else busy.waits(rest)

    go_on = _until(pipe, job, block, telemetry, begin, rest)

    train(
        algorithm=algorithm,
        network=network,
        weights=shared_weights(local, block, config.optimizer) if weights is None else weights(local),
        source=rollouts,
        minibatches=minibatches(algorithm, network, environments.spaces),
        telemetry=telemetry,
        generator=generator,
        go_on=tidily(go_on if busy is None else busy.between(go_on)),
        between=between,
    )


def _novelty(job: Job, spaces: Spaces) -> Novelty | None:
    scale = job.config.exploration.novelty
    place = {"child": job.child, "worker": job.worker, "interval": 0}
    return Novelty(spaces, scale, seeds.stream(job.config.seed or 0, purpose=seeds.NOVELTY, **place)) if scale else None


def _own_minibatches(job: Job, block: SharedBlock) -> MakeMinibatches:
    """What a worker that trains learns from: what it has just played, or samples of a replay."""

    def make(algorithm: Algorithm, network: nn.Module, unused_spaces: Spaces) -> MinibatchSource:
        config, ratio = job.config, replay_ratio(job.config)
        if not ratio:
            return Fresh(algorithm, network)
        place = {"child": job.child, "worker": job.worker, "interval": job.interval}
        rng = np.random.default_rng(seeds.stream(config.seed or 0, purpose=seeds.REPLAY, **place))
        if algorithm.from_transitions:
            return ReplayedTransitions(algorithm, network, block, job.worker, config.replay, ratio=ratio, rng=rng)
        return ReplayedTrajectories(algorithm, network, block, job.worker, ratio=ratio, rng=rng)

    return make


def reseed(job: Job, interval: int, generator: torch.Generator, count: int) -> list[int]:
    """Seed the worker's random numbers for a checkpoint interval; returns the seeds of its environments."""

    place = {"child": job.child, "worker": job.worker, "interval": interval}
    seed = job.config.seed or 0
    generator.manual_seed(seeds.integer(seeds.stream(seed, purpose=seeds.ACTIONS, **place)))
    return seeds.integers(seeds.stream(seed, purpose=seeds.ENVIRONMENTS, **place), count)


def _until(
    pipe: Connection,
    job: Job,
    block: SharedBlock,
    telemetry: Telemetry,
    begin: Callable[[int], None],
    rest: Callable[[], int | None],
) -> Callable[[], bool]:
    """What decides whether a worker plays another trajectory."""
    if not job.alone:
        return _between_rests(block, rest, begin)
    return (
        _in_intervals(pipe, job, block, telemetry, begin)
        if job.config.deterministic
        else _freely(job, block, telemetry)
    )


def _between_rests(
    block: SharedBlock, rest: Callable[[], int | None], begin: Callable[[int], None]
) -> Callable[[], bool]:
    """Go on until told to stop. Before each trajectory, rest for as long as the exchange wants; begin the interval that
    it names.
    """
    stop = array(block, "stop")

    def go_on() -> bool:
        if (interval := rest()) is not None and not stop[0]:
            begin(interval)
        return not stop[0]

    return go_on


def _freely(job: Job, block: SharedBlock, telemetry: Telemetry) -> Callable[[], bool]:
    """Go on until told to stop, or until all workers together have played enough."""
    stop, limit = array(block, "stop"), job.config.stop.steps
    return lambda: not stop[0] and (limit is None or telemetry.steps() < limit)


def _in_intervals(
    pipe: Connection, job: Job, block: SharedBlock, telemetry: Telemetry, begin: Callable[[int], None]
) -> Callable[[], bool]:
    """Go on until told to stop; after each checkpoint interval, wait until the main process has saved it. Then begin
    the next one, see ``begin``.
    """
    stop, limit, length = array(block, "stop"), job.config.stop.steps, job.config.checkpoint.every_steps
    interval = job.interval

    def go_on() -> bool:
        nonlocal interval
        if stop[0]:
            return False
        steps = telemetry.steps()
        if steps < (interval + 1) * length and (limit is None or steps < limit):
            return True
        interval += 1
        pipe.send(IntervalEnd(interval))
        if not pipe.recv():
            return False
        begin(interval)
        return True

    return go_on
