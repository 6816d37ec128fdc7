"""A learner and children in lockstep without processes: each step by hand."""

import threading

from marl.data.node.memory import BUSY, array
from marl.data.node.send_queue import ALLOWED, WRITTEN
from marl.exchanges.experience.lockstep import PartRest
from marl.exchanges.experience.lockstep_child import LockstepChild
from marl.exchanges.experience.lockstep_parent import LockstepParent
from marl.exchanges.sides import Answer
from marl.exchanges.virtual_time import BusyChild, RoundTimer, VirtualClock, VirtualLink
from marl.wire.message import Message
from tests.commands import PATIENCE_S
from tests.exchanges.actors import Actors, Learning
from tests.exchanges.nodes import Clock, carried


class LockstepRun:
    """A learner and children in lockstep. Each conversation of the parent has a thread of its own."""

    def __init__(self, clock: Clock, *workers: int, batch: int, queue: int = 8, expected: int | None = None) -> None:
        self.clock, self.learner_s = clock, 0.0
        children = len(workers) if expected is None else expected
        self.timer = RoundTimer(VirtualClock(VirtualLink(delay_s=0.25)), lambda: 0.0, lambda: self.learner_s)
        self.learning = Learning(clock, queue=queue, batch=batch, children=children, kind=LockstepParent)
        assert isinstance(self.learning.side, LockstepParent)
        self.side = self.learning.side
        self.side.begin(self.timer, children=children, batch=batch)
        self.children = [
            Actors(name, clock, rank=rank, workers=count, kind=LockstepChild)
            for rank, (name, count) in enumerate(zip("abcdefgh", workers, strict=False))
        ]
        for rank, (child, count) in enumerate(zip(self.children, workers, strict=True)):
            child.side._busy = BusyChild(  # type: ignore[attr-defined]
                array(child.block, "seconds")[:, BUSY], lambda: 0.0
            )  # this process is not the child's
            self.side.assign_rank(child.name, rank, count)
        self.versions: dict[str, list[int]] = {child.name: [] for child in self.children}  # that each part began with
        self._threads: list[threading.Thread] = []
        self.answers: dict[str, Answer | None] = {}

    def join(self, *children: Actors) -> None:
        for child in children:
            self.learning.join(child)
            assert child.uploads() == []

    def play(self, *children: Actors, seconds: float = 0.0) -> None:
        """Every worker of these plays all that it may."""
        for child in children:
            counts = child.block["send_queue_counts"]
            for worker in range(len(counts)):
                rest = PartRest(child.block, worker)
                while counts[worker, WRITTEN] < counts[worker, ALLOWED]:
                    self.versions[child.name].append(int(child.block["version"][0]))
                    child.play(worker)
                    array(child.block, "seconds")[worker, BUSY] += seconds
                    array(child.block, "stop")[0] = 1  # so that it does not wait
                    rest()
                    array(child.block, "stop")[0] = 0

    def send(self, *children: Actors) -> None:
        """What these may send travels; the parent's threads wait for the end of the round."""
        for child in children:
            for upload in child.uploads():
                thread = threading.Thread(target=self._receive, args=(child, upload))
                thread.start()
                self._threads.append(thread)

    def damage(self, child: Actors) -> None:
        """What this one sends cannot be used when it is there."""
        (upload,) = child.uploads()
        carried(upload, lambda header: self.side.receive_buffers(child.name, header))
        thread = threading.Thread(target=self._reject, args=(child.name,))
        thread.start()
        self._threads.append(thread)

    def _reject(self, child: str) -> None:
        self.answers[child] = self.side.rejected(child, "damaged")

    def _receive(self, child: Actors, upload: Message) -> None:
        self.answers[child.name] = self.learning.receive(upload)

    def end_round(self) -> None:
        """Wait for the answers, and hand them over."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        self._threads = []
        for child in self.children:
            child.heard(self.answers.pop(child.name, None))

    def learn(self, seconds: float = 0.0) -> list[int]:
        """The learner learns from a batch, and gives it back."""
        found = self.learning.learn()
        self.learner_s += seconds
        self.learning.rest()
        return found

    def close(self) -> None:
        self.side.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
