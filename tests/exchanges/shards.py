"""Children whose workers are threads, at a parent of the exchange ``gradients``: real sides, real conversations."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm
from marl.algorithms.build import build_network
from marl.data.layout import Tree
from marl.data.node.memory import array, node_memory
from marl.data.replay.priorities import priority_fields
from marl.data.replay.transitions import transition_fields
from marl.data.settings import ReplaySettings
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.environments.settings import EnvironmentSettings
from marl.errors import LinkError
from marl.exchanges.base import ChildFacts, ParentFacts
from marl.exchanges.child_reports import Report, hear_all
from marl.exchanges.conversation import converse, report
from marl.exchanges.gradients.child import GradientsChild
from marl.exchanges.gradients.exchange import Gradients
from marl.exchanges.gradients.memory import ANEW, rounds_of
from marl.exchanges.gradients.parent import GradientsParent
from marl.exchanges.gradients.rests import IntervalRest
from marl.exchanges.gradients.samples import ShardedSamples
from marl.exchanges.gradients.settings import DELAYED
from marl.exchanges.gradients.shard import Shard, ShardedMinibatches
from marl.exchanges.run import RunSettings, most_updates, replay_ratio
from marl.exchanges.sides import Answer
from marl.links.memory import memory_pair
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from marl.training.hogwild import train
from marl.training.minibatches import MinibatchSource
from marl.training.schedule_length import ScheduleLength
from marl.training.worker_metrics import Telemetry
from tests.commands import PATIENCE_S
from tests.exchanges.given_trajectories import Given
from tests.exchanges.nodes import Clock
from tests.exchanges.recorded_samples import Drawn, Recorded

SETTINGS = NetworkSettings(hidden=(8,), log_std=-0.3)
REPLAY = ReplaySettings()


class Parent(GradientsParent):
    """Says who has joined, and remembers the weights of each version."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.has_joined = threading.Event()
        self.rested: queue.Queue[int] = queue.Queue()  # versions at which all children rest
        self.versions = {self.current.version: self.current.weights}

    def _close(self) -> None:
        super()._close()
        self.versions[self.current.version] = self.current.weights

    def _all_rest(self) -> None:
        super()._all_rest()
        self.rested.put(self.current.version)

    def join(self, child: str) -> Answer:
        answer = super().join(child)
        self.has_joined.set()
        return answer


class Node:
    """One child: memory, side, workers."""

    def __init__(self, fleet: "Fleet", name: str, workers: int) -> None:
        self.fleet, self.name, self.workers = fleet, name, workers
        network = fleet.network()
        self.block = node_memory(
            num_weights=flatten(network).weights.numel(),
            num_parameters=sum(each.numel() for each in network.parameters()),
            observation_size=0,
            workers=workers,
            more=fleet.exchange.memory(fleet.run, fleet.spaces, network, workers) | fleet.replay_memory(workers),
        )
        self.drawn: list[Drawn] = []  # samples of its replay
        self.notes: list[str] = []
        self.busy: dict[int, Any] = {}  # of workers: tells how long they were busy
        deterministic, note = fleet.run.deterministic, self.notes.append
        facts = ChildFacts(self.block, name, fleet.run, fleet.spaces, deterministic=deterministic, note=note)
        self.side = fleet.child_class(facts, fleet.clock)
        self._leave = threading.Event()

    def connect(self) -> None:
        """Begin a conversation with the parent, which knows of it when this returns."""
        self._leave = threading.Event()
        self.fleet.parent.has_joined.clear()
        above, below = memory_pair()
        for end in (above, below):
            end.limit(10**7)
        stop = self.fleet.stop

        def below_side() -> None:
            try:
                report(below, self.side, self._leave, name=self.name)
            except LinkError as error:
                self.fleet.errors.append(error)
            finally:
                self.side.left()

        def above_side() -> None:
            try:
                converse(above, self.name, self.fleet.parent, stop, name="parent")
            except LinkError as error:
                self.fleet.errors.append(error)

        self._talks = [self.fleet.spawn(below_side), self.fleet.spawn(above_side)]
        assert self.fleet.parent.has_joined.wait(PATIENCE_S)

    def disconnect(self) -> None:
        """End the conversation as a child that goes does."""
        self._leave.set()
        self.side.leave()
        for each in self._talks:
            each.join(PATIENCE_S)
            assert not each.is_alive()

    def learn(
        self,
        worker: int,
        trajectories: Sequence[Trajectory],
        until: int,
        between: Callable[[int], None] = lambda played: None,
    ) -> threading.Thread:
        """A worker that learns from these, again and again, until a version of the weights.

        Args:
            between: called before each trajectory, with how many it has played.
        """
        fleet, algorithm = self.fleet, self.fleet.algorithm
        network, source = fleet.network(), Given(trajectories, between)
        delayed = fleet.exchange.form == DELAYED
        shard = Shard(self.block, worker, rounds_of(fleet.run), delayed=delayed, busy=self.busy.get(worker))
        local, stop = flatten(network), array(self.block, "stop")
        generator = torch.Generator().manual_seed(fleet.seed_of(self.name, worker))
        rest = IntervalRest(self.block, worker)

        def go_on() -> bool:
            if (interval := rest()) is not None:
                source.begin(interval)
                generator.manual_seed(1000 * interval + fleet.seed_of(self.name, worker))
            return not stop[0] and max(self.side.version, (shard._over + shard._has_part) % ANEW) < until

        def work() -> None:
            self.side.started.wait(PATIENCE_S)
            train(
                algorithm=algorithm,
                network=network,
                weights=shard.over(local),
                source=source,
                minibatches=self._minibatches(network, worker, shard),
                telemetry=Telemetry(self.block, worker, ScheduleLength(), alone=False),
                generator=generator,
                go_on=go_on,
            )
            shard._wait()  # for the round of its last part

        return fleet.spawn(work)

    def _minibatches(self, network: nn.Module, worker: int, shard: Shard) -> MinibatchSource:
        run, algorithm = self.fleet.run, self.fleet.algorithm
        if not algorithm.from_transitions:
            return ShardedMinibatches(algorithm, network, shard)
        rng = np.random.default_rng(self.fleet.seed_of(self.name, worker))
        replay = Recorded(algorithm, network, self.block, worker, run.replay, ratio=replay_ratio(run), rng=rng)
        replay.place, replay.shard, replay.told = (self.name, worker), shard, self.drawn
        return ShardedSamples(algorithm, replay, shard, int(most_updates(run)))


class Fleet:
    """A parent and its children."""

    child_class: type[GradientsChild] = GradientsChild
    parent_class: type[Parent] = Parent

    def __init__(
        self,
        spaces: Spaces,
        algorithm: Algorithm,
        nodes: Sequence[int],
        rows: int,
        replay: ReplaySettings = REPLAY,
        *,
        interval: int = 0,
        **settings: object,
    ) -> None:
        """
        Args:
            nodes: number of workers of each child.
            rows: environments of each worker.
            interval: deterministic mode: environment steps between two rests.
        """
        self.spaces, self.algorithm, self.clock = spaces, algorithm, Clock()
        self._interval, environment = interval, EnvironmentSettings(per_worker=rows)
        self.run = RunSettings(
            algorithm=algorithm, environment=environment, replay=replay, deterministic=bool(interval)
        )
        self.exchange = Gradients(**settings)  # type: ignore[arg-type]
        self.stop, self.errors, self._threads = threading.Event(), list[BaseException](), list[threading.Thread]()
        self.notes: list[str] = []
        self.told: dict[str, int] = {}  # steps in each child's newest report
        self._children = len(nodes)
        self.parent = self.make_parent()
        self.nodes = [Node(self, f"child{rank}", workers) for rank, workers in enumerate(nodes)]
        for rank, node in enumerate(self.nodes):
            self.parent.assign_rank(node.name, rank, node.workers)

    def make_parent(self, **facts: Any) -> Parent:
        """One that begins with the weights of seed 0."""
        network = self.network()
        size = sum(each.numel() for each in network.parameters())
        given = {"weights": flatten(network).weights, "name": "parent", "children": self._children, **facts}
        given["interval"] = self._interval
        known = ParentFacts(
            self.run, self.spaces, num_parameters=size, hear=self._hear, note=self.notes.append, **given
        )
        return self.parent_class(known, self.exchange, self.clock)

    def _hear(self, child: str, report: Report) -> int:
        self.told[child] = int(report.steps.sum())
        return hear_all(child, report)

    def replay_memory(self, workers: int) -> dict[str, Tree]:
        """The fields of a child's replay, if there is one."""
        if not self.algorithm.from_transitions:
            return {}
        capacity = self.run.replay.capacity
        seen = self.spaces.observation(normalized=False)
        rows = transition_fields(capacity=capacity, workers=workers, observation=seen, action=self.spaces.action)
        return rows | priority_fields(capacity)

    def network(self) -> nn.Module:
        return build_network(self.algorithm, self.spaces, SETTINGS)

    def seed_of(self, name: str, worker: int) -> int:
        """Of a worker's random numbers."""
        return 100 * int(name.removeprefix("child")) + worker

    def spawn(self, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)
                raise

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def wait(self, *threads: threading.Thread) -> None:
        """Until these have ended."""
        for each in threads:
            each.join(PATIENCE_S)
            assert not each.is_alive(), self.errors
        assert not self.errors, self.errors

    def close(self) -> None:
        """End the run."""
        self.stop.set()
        self.parent.close()
        for node in self.nodes:
            node.block["stop"].fill_(1)
            node._leave.set()
            node.side.leave()
        for each in self._threads:
            each.join(PATIENCE_S)
            assert not each.is_alive()

    def weights(self) -> Tensor:
        """Those of the parent."""
        return self.parent.current.weights

    def demand_the_same_bits(self, *nodes: Node) -> None:
        """Of weights and optimizer, at the parent and these children, or all, which have its newest version."""
        state = self.parent.saved().optimizer
        for node in nodes or self.nodes:
            assert node.side.version == self.parent.current.version
            assert torch.equal(node.block["weights"], self.parent.versions[node.side.version])
            assert torch.equal(node.block["optimizer"], state["optimizer"])
            assert torch.equal(node.block["optimizer_steps"], state["optimizer_steps"])
