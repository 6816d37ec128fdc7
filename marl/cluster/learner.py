"""The learner: one process that learns from the trajectories of actors, on this machine or on children."""

import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from marl import seeds
from marl.algorithms.base import Algorithm
from marl.algorithms.build import build_network
from marl.cluster.memory_demand import queue_places, replay_memory
from marl.cluster.snapshot import OPTIMIZER, Snapshot, put_back
from marl.config.settings import Config
from marl.data.layout import Layout
from marl.data.node.memory import BUSY, FIRST_UPDATE, UPDATES, array, node_memory
from marl.data.node.metrics import read_metrics
from marl.data.node.trajectory_queue import Flow, Published, TrajectoryQueue, flow, trajectory_queue_fields
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.errors import WorkerFailed
from marl.exchanges.base import LearnerMemory, ParentFacts
from marl.exchanges.run import replay_ratio
from marl.exchanges.sides import LearningSide
from marl.processes.group import ProcessGroup
from marl.processes.heap import tidily
from marl.training.arrivals import Arrivals
from marl.training.busy_time import BusyTime
from marl.training.flat import Flat, flatten, num_parameters
from marl.training.hogwild import train
from marl.training.learned_weights import DeviceWeights, SharedWeights, own_device, shared_weights
from marl.training.minibatches import CPU, Fresh, MinibatchSource, ReplayedTrajectories, ReplayedTransitions
from marl.training.publishing import Publishing
from marl.training.schedule_length import schedule_length
from marl.training.worker_metrics import Telemetry
from marl.words import saved

NAME = "learner"
QUANTILES = {"median": 0.5, "p99": 0.99, "max": 1.0}  # of the staleness of the trajectories learned from


class LearnerJob(NamedTuple):
    """What the learner is told when it starts."""

    config: Config  # with a seed
    spaces: Spaces
    interval: int  # counts restarts and resumes


def learn(pipe: Connection, job: LearnerJob, block: SharedBlock) -> None:
    """Learn from what arrives until told to stop."""
    torch.set_num_threads(1)
    config = job.config
    algorithm, ratio = config.algorithm.off_policy(), replay_ratio(config)
    plan = config.exchange.learner_plan()
    device = own_device(plan.device, replays=bool(ratio))
    network = build_network(algorithm, job.spaces, config.network)
    layout = config.exchange.layout(config, job.spaces, network)
    weights = _weights(flatten(network, device), config, block)
    # With a replay there is no limit: trajectories become older in it anyway.
    max_staleness = sys.maxsize if ratio else plan.max_staleness
    arrivals = Arrivals(block, layout, batch=plan.batch, max_staleness=max_staleness, device=CPU if ratio else device)
    telemetry = Telemetry(block, 0, schedule_length(algorithm, config.stop), alone=False)
    place = {"child": 0, "worker": 0, "interval": job.interval}
    seed = config.seed or 0
    generator = torch.Generator().manual_seed(seeds.integer(seeds.stream(seed, purpose=seeds.LEARNING, **place)))
    rng = np.random.default_rng(seeds.stream(seed, purpose=seeds.REPLAY, **place))
    wait = BusyTime(block, 0).between(arrivals.wait) if config.clock.virtual else arrivals.wait
    train(
        algorithm=algorithm,
        network=network,
        weights=weights,
        source=arrivals,
        minibatches=_minibatches(algorithm, network, block, config, ratio, rng, arrivals, device),
        telemetry=telemetry,
        generator=generator,
        go_on=tidily(Publishing(block, weights, telemetry, wait)),
    )
    weights.save_state()


def _weights(local: Flat, config: Config, block: SharedBlock) -> SharedWeights | DeviceWeights:
    if local.weights.device.type != "cpu":
        return DeviceWeights(local, block, config.optimizer)
    return shared_weights(local, block, config.optimizer)


def _minibatches(
    algorithm: Algorithm,
    network: nn.Module,
    block: SharedBlock,
    config: Config,
    ratio: float,
    rng: np.random.Generator,
    arrivals: Arrivals,
    device: torch.device,
) -> MinibatchSource:
    if algorithm.from_transitions:
        return ReplayedTransitions(
            algorithm,
            network,
            block,
            0,
            config.replay,
            ratio=ratio,
            rng=rng,
            priorities=lambda: arrivals.priorities,
            device=device,
        )
    if ratio:
        return ReplayedTrajectories(algorithm, network, block, 0, ratio=ratio, rng=rng, device=device)
    return Fresh(algorithm, network)


class LearnerNode:
    """The main process's view of the learner: its memory, its process, and what is known of it."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        network: nn.Module,
        weights: Tensor,
        group: ProcessGroup,
        *,
        children: int = 1,
    ) -> None:
        """
        Args:
            network: holds the initial weights; ``weights`` [N] are the same numbers as one vector.
            children: the queue has at least one place for each, beside the batch that the learner works on.
        """
        device = config.exchange.learner_plan().device
        own_device(device, replays=bool(replay_ratio(config)))  # refused before anything starts
        self._config, self._spaces, self._group = config, spaces, group
        self.restarts = 0
        self._counted = 0  # restarts that count towards max_restarts
        self._updates_at_start = 0
        self.interval = 0  # the first checkpoint interval
        self._weights, self._num_parameters = weights, num_parameters(network)
        self.layout: Layout = config.exchange.layout(config, spaces, network)
        places = queue_places(config, self.layout, children)
        self.block = node_memory(
            num_weights=len(weights),
            num_parameters=self._num_parameters,
            observation_size=spaces.measured_size,
            workers=1,
            more={
                **trajectory_queue_fields(self.layout, places, len(weights)),
                **replay_memory(config, spaces, network, 1, learner=True),
            },
        )
        self.block["weights"].copy_(weights)
        self._base_updates = 0
        self.trajectory_queue, self.published = TrajectoryQueue(self.block), Published(self.block)

    def parent_side(self, **facts: Any) -> LearningSide:
        """The parent's side of the run's exchange, over this learner.

        Args:
            facts: the fields of ``ParentFacts`` that this learner does not know.
        """
        config, meets = self._config, LearnerMemory(self.trajectory_queue, self.published, self.layout)
        known = ParentFacts(config, self._spaces, self._weights, self._num_parameters, learner=meets, **facts)
        return cast(LearningSide, config.exchange.parent(known))

    def start(self, began: float) -> None:
        """Start the learner with the weights that are in place; ``began``: see ``Trainer.start``."""
        self.block["began"].fill_(began)
        self.published.publish(self.block["weights"], int(self.block["version"][0]))
        self._start()

    def stop(self) -> None:
        """Tell it to end; the group waits for it."""
        self.block["stop"].fill_(1)

    def check(self, warn: Callable[[str], None], trace: Callable[[str], None]) -> None:
        """Start it again if it died.

        Raises:
            WorkerFailed: it died more often than ``node.max_restarts`` allows, or an error cannot be mended.
        """
        for _, failure in self._group.check(NAME):
            if failure.trace:
                trace(failure.trace)
            if self.own_updates() > self._updates_at_start:
                self._counted = 0  # only deaths in a row, without learning in between, count
            if failure.permanent or self._counted >= self._config.node.max_restarts:
                raise WorkerFailed(
                    f"{failure.text} (the learner, after {self.restarts} restarts{saved(self.updates())})"
                )
            self.restarts += 1
            self._counted += 1
            warn(f"the learner died ({failure.text}) and is started again")
            self.trajectory_queue.restart()
            self._start()

    def _start(self) -> None:
        self._updates_at_start = self.own_updates()
        job = LearnerJob(self._config, self._spaces, self.interval + self.restarts)
        self._group.start(NAME, learn, job, self.block, may_end=lambda: bool(self.block["stop"][0]))

    def progress(self, steps: int) -> None:
        """Set how many environment steps have arrived, over all resumes; schedules depend on it."""
        self.block["base_steps"].fill_(steps)

    def updates(self) -> int:
        """Optimizer steps, those of resumed runs included."""
        return self._base_updates + int(array(self.block, "counters")[0, UPDATES])

    def own_updates(self) -> int:
        """Optimizer steps of this run."""
        return int(array(self.block, "counters")[0, UPDATES])

    def first_update_at(self) -> float | None:
        """time.time() of the first optimizer step; None before it."""
        when = float(array(self.block, "seconds")[0, FIRST_UPDATE])
        return when or None

    def busy_seconds(self) -> float:
        """How long it has learned, with ``clock.virtual``."""
        return float(array(self.block, "seconds")[0, BUSY])

    def arrived(self) -> int:
        """Trajectories that were queued for it in this run, used or not."""
        return self.trajectory_queue.total()

    def flow(self) -> Flow:
        """What became of the trajectories."""
        return flow(self.block)

    def metrics(self) -> dict[str, float]:
        """Losses and other metrics, and the staleness of the trajectories learned from."""
        found = read_metrics(self.block)
        if not self.own_updates():
            return found
        known = self.flow()
        found |= {"staleness": known.mean_age(), "dropped": float(known.stale)}
        found |= {f"staleness_{name}": float(known.age_of(share)) for name, share in QUANTILES.items()}
        return found

    def optimizer_state(self) -> dict[str, Tensor]:
        """A copy of the optimizer's state, which the learner may be changing."""
        return {name: self.block[name].clone() for name in OPTIMIZER}

    def restore(self, snapshot: Snapshot, version: int) -> None:
        """Continue from a snapshot, before ``start``."""
        put_back(snapshot, self.block, self._config.optimizer)
        self._base_updates = snapshot.updates
        self.block["version"].fill_(version)
        self.progress(snapshot.steps)
