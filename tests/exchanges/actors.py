"""Actors and a learner without processes: trajectories put in by hand, batches taken out by hand."""

import numpy as np
import torch

from marl.data.node.memory import array, node_memory
from marl.data.node.send_queue import SendQueue, send_queue_fields
from marl.data.node.trajectory_queue import Flow, Published, TrajectoryQueue, flow, trajectory_queue_fields
from marl.data.normalizer import RunningStatistics, add, statistics_of
from marl.exchanges.experience.child import ExperienceChild
from marl.exchanges.experience.parent import ExperienceParent
from marl.exchanges.sides import Answer
from marl.training.arrivals import Arrivals
from marl.wire.message import Kind, Message
from tests.data.rollouts import layout_of, numbers_in
from tests.data.writers import trajectory
from tests.exchanges.nodes import Clock, carried

WEIGHTS, OBSERVATION = 300, 2
PER_WORKER = 1000  # numbers: worker 1 of the third child begins at 21,000


class Actors:
    """A child's side with its node's memory; its workers play counting trajectories, numbered by child and worker."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        rank: int = 0,
        workers: int = 2,
        normalizes: bool = False,
        packs: bool = False,
        kind: type[ExperienceChild] = ExperienceChild,
    ) -> None:
        self.name = name
        self.block = node_memory(
            num_weights=WEIGHTS,
            num_parameters=WEIGHTS,
            observation_size=OBSERVATION,
            workers=workers,
            more=send_queue_fields(layout_of(), workers),
        )
        self.notes: list[str] = []
        self.side = kind(self.block, name=name, normalizes=normalizes, packs=packs, note=self.notes.append, clock=clock)
        self.side.joined()
        self._send_queues = [SendQueue(self.block, worker, layout_of()) for worker in range(workers)]
        self._first = [(10 * rank + worker) * PER_WORKER for worker in range(workers)]
        self.played = [0] * workers

    def play(self, worker: int = 0, count: int = 1, version: int | None = None) -> None:
        """So many trajectories, by the weights that are in place; there has to be room for them."""
        for _ in range(count):
            number = self._first[worker] + self.played[worker]
            acted = self.side.version if version is None else version
            self._send_queues[worker].put(trajectory(number)._replace(version=acted), None)
            self.played[worker] += 1

    def see(self, observations: list[list[float]], worker: int = 0) -> None:
        """What a worker has observed besides."""
        add(array(self.block, "observations")[1 + worker], statistics_of(np.array(observations)))

    def uploads(self) -> list[Message]:
        """What the child sends now, but for telemetry; copied, as the link copies it before it asks for more."""
        found = []
        for message in self.side.outgoing():
            if message.kind is Kind.UPLOAD:
                arrays = {name: torch.as_tensor(each).clone() for name, each in message.arrays.items()}
                found.append(message._replace(arrays=arrays))
        return found

    def asks(self) -> list[Message]:
        """Likewise, of messages without arrays."""
        return [message for message in self.side.outgoing() if message.kind is Kind.FULL]

    def take(self, answer: Answer | None) -> None:
        """An answer arrives."""
        assert answer is not None
        self.side.accept(carried(answer.message, self.side.receive_buffers, answer.digest))

    def heard(self, answer: Answer | None) -> None:
        """An answer arrives, if there is one."""
        if answer is not None:
            self.take(answer)

    @property
    def credit(self) -> int:
        """Trajectories that it may still send."""
        return self.side._granted - self.side._sent


class Learning:
    """A parent's side with its learner's memory."""

    def __init__(
        self,
        clock: Clock,
        *,
        queue: int = 8,
        batch: int = 1,
        children: int = 1,
        max_staleness: int = 100,
        normalizes: bool = False,
        sample: RunningStatistics | None = None,
        unpacks: bool = False,
        kind: type[ExperienceParent] = ExperienceParent,
    ) -> None:
        self.block = node_memory(
            num_weights=WEIGHTS,
            num_parameters=WEIGHTS,
            observation_size=OBSERVATION,
            workers=1,
            more=trajectory_queue_fields(layout_of(), max(queue, children) + batch - 1, WEIGHTS),
        )
        self.notes: list[str] = []
        self.trajectory_queue, self.published = TrajectoryQueue(self.block), Published(self.block)
        self._batch, self._max_staleness = batch, max_staleness
        self.begin()
        self.publish(0)
        self.side = kind(
            self.trajectory_queue,
            self.published,
            layout_of(),
            WEIGHTS,
            name="parent",
            children=children,
            batch=batch,
            unpacks=unpacks,
            observation_size=OBSERVATION if normalizes else 0,
            sample=sample,
            note=self.notes.append,
            clock=clock,
        )

    def begin(self) -> None:
        """A learner starts, the first or one that takes the place of another."""
        cpu = torch.device("cpu")
        self._arrivals = Arrivals(
            self.block, layout_of(), batch=self._batch, max_staleness=self._max_staleness, device=cpu
        )

    def publish(self, version: int) -> None:
        """Weights that are all as large as their version."""
        self.block["version"].fill_(version)
        self.published.publish(torch.full((WEIGHTS,), float(version)), version)

    def learn(self) -> list[int]:
        """Wait for a batch and learn from it: which trajectories it held. The next call gives it back."""
        assert self._arrivals.wait()
        came, _ = self._arrivals.collect(None, int(self.block["version"][0]))  # type: ignore[arg-type]
        self.publish(int(self.block["version"][0]) + 1)
        return numbers_in(came)

    def rest(self) -> None:
        """The learner gives back what it has."""
        self.block["stop"].fill_(1)
        assert not self._arrivals.wait()
        self.block["stop"].fill_(0)

    def waiting(self) -> int:
        """Trajectories in the queue that nobody has looked at."""
        return int(self.block["trajectory_queue_put"][0] - self.block["trajectory_queue_taken"][0])

    def queued(self) -> int:
        """Trajectories that have come into the queue, whatever became of them."""
        return int(self.block["trajectory_queue_put"][0])

    def flow(self) -> Flow:
        """What became of the trajectories."""
        return flow(self.block)

    def receive(self, upload: Message) -> Answer | None:
        """An upload arrives; what the parent says to it."""
        child = upload.sender
        arrived = carried(upload, lambda header: self.side.receive_buffers(child, header))
        return self.side.answer(child, arrived)

    def join(self, *children: Actors) -> None:
        """Children come in and take their first answer."""
        for child in children:
            child.take(self.side.join(child.name))


def exchange(learning: Learning, *children: Actors) -> None:
    """All that may travel does, both ways."""
    for child in children:
        for upload in child.uploads():
            child.heard(learning.receive(upload))
        child.heard(learning.side.late(child.name))


def steps_of(number: int) -> int:
    """Transitions in a counting trajectory."""
    return int(trajectory(number).valid.sum())


def pair(clock: Clock, **settings: int | bool) -> tuple[Learning, Actors]:
    """A learner and a child that is in."""
    learning = Learning(clock, **settings)  # type: ignore[arg-type]
    child = Actors("a", clock, normalizes=bool(settings.get("normalizes")), packs=bool(settings.get("unpacks")))
    learning.join(child)
    return learning, child
