"""The observations exchange at the parent (SEED): it decides for all environments of all children, and learns.

Espeholt et al., "SEED RL: Scalable and Efficient Deep-RL with Accelerated Central Inference" (2020). Trajectories are
put together here, where observations arrive and actions are chosen, and go into the learner's queue; while that is
full, answers wait, and with them the environments.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.acting.decide import Decision, Question
from marl.acting.streams import Stream
from marl.data.desk import GROUP, QUESTION, WORKER, DeskLayout, check_desk
from marl.data.normalizer import Normalizer, as_slot, from_slot, merge, moments
from marl.data.parcel import pack
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.errors import LinkClosed, MessageRefused
from marl.exchanges.answers import REPORT_EVERY, REPORT_SHARE
from marl.exchanges.base import Answer
from marl.exchanges.batcher import Batcher
from marl.exchanges.experience_parent import ExperienceParent, Guest
from marl.exchanges.observations_child import PER_MESSAGE
from marl.exchanges.telemetry import place_report
from marl.failpoints import fail
from marl.networks.sampling import Sampler
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message, Value
from marl.wire.places import into, nowhere

MAX_WORKERS = 1024  # of one child
ROOM_S = 0.001  # seconds between two looks whether the queue has room


class Places(NamedTuple):
    """What the exchange makes anew for a child."""

    stream: Callable[[], Stream]
    sampler: Callable[[int, int], Sampler]  # of a child's rank and a worker's
    priorities: Callable[[Trajectory], Tensor | None]


class ObservationsParent(ExperienceParent):
    """See ``ParentSide``."""

    def begin(self, desks: DeskLayout, places: Places, batcher: Batcher[list[Question], list[Decision]]) -> None:
        """What deciding needs; before any child joins."""
        self._desks, self._places, self._batcher = desks, places, batcher
        self._streams: dict[tuple[str, int, int], Stream] = {}
        self._samplers: dict[tuple[str, int], Sampler] = {}
        self._buffers: dict[str, Tensor] = {}
        self._ranks: dict[str, int] = {}
        self._statistics = threading.Lock()  # guards the normaliser
        self._normalizer: Normalizer | None = None
        if self._slot is not None:
            self._normalizer = Normalizer((len(self._slot) - 1) // 2)
            self._normalizer.use(from_slot(self._slot.numpy()))

    def seat(self, child: str, rank: int) -> None:
        """Exploration may depend on a child's place among all."""
        self._ranks[child] = rank

    def close(self) -> None:
        """Decide nothing any more."""
        super().close()
        self._batcher.close()

    def leave(self, child: str) -> None:
        """See ``ParentSide``. What was gathered of its trajectories has no sequel."""
        super().leave(child)
        for key in [key for key in self._streams if key[0] == child]:
            del self._streams[key]

    def place(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        self.members[child].arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return place_report(header)
        if header.kind is not Kind.UPLOAD:
            return nowhere(header)
        count = len(header.manifest)
        if not 1 <= count <= PER_MESSAGE:
            raise MessageRefused(f"expected 1 to {PER_MESSAGE} desks, got {count}")
        if child not in self._buffers:
            self._buffers[child] = torch.zeros(PER_MESSAGE, self._desks.num_bytes, dtype=torch.uint8)
        return into({f"desk{number}": self._buffers[child][number] for number in range(count)})(header)

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        return 0.5

    def late(self, child: str) -> Answer | None:
        """Nothing is ever due of the parent's own accord."""
        return None

    def spoiled(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``. The child would wait for actions for ever: it asks again in a new conversation."""
        guest = self.members[child]
        if guest.arriving == Kind.TELEMETRY:
            return super().spoiled(child, reason)
        raise LinkClosed(f"observations of {child} cannot be used: {reason}")

    def _answer_upload(self, guest: Guest, upload: Message) -> Answer | None:
        desks = [self._desks.open(each) for each in upload.arrays.values() if isinstance(each, Tensor)]
        questions: list[Question] = []
        streams: list[Stream] = []
        for desk in desks:
            check_desk(desk)
            worker, group = int(desk["header"][WORKER]), int(desk["header"][GROUP])
            if worker >= MAX_WORKERS:
                raise MessageRefused(f"expected a worker below {MAX_WORKERS}, got {worker}")
            stream = self._stream(guest.name, worker, group)
            trajectory = stream.take(desk, self._prepare)
            self._observe(desk)
            with self._lock:
                self.steps += int(desk["valid"].sum())
            if trajectory is not None:
                self._hand_over(trajectory)
            streams.append(stream)
            questions.append(Question(stream.newest(), stream.states, self._sampler(guest.name, worker)))
        fail("parent.deciding")
        decisions = self._batcher.ask(questions, sum(len(each.observations) for each in questions))
        if decisions is None:
            return None
        for desk, stream, decision in zip(desks, streams, decisions, strict=True):
            stream.decided(int(desk["header"][QUESTION]), *decision)
        arrays: dict[str, Array] = {"actions": torch.stack([each.actions for each in decisions])}
        return self._say(guest, arrays, decisions[0].version)

    def _reply(self, guest: Guest) -> Answer:
        return self._say(guest, {}, self._published.version())

    def _say(self, guest: Guest, arrays: dict[str, Array], version: int) -> Answer:
        guest.version, guest.answered_at = version, self._clock()
        info: dict[str, Value] = {"report_every": max(REPORT_EVERY, REPORT_SHARE * len(self.members))}
        return Answer(Message(Kind.ANSWER, self._name, self.epoch, version, arrays=arrays, info=info))

    def _stream(self, child: str, worker: int, group: int) -> Stream:
        key = (child, worker, group)
        if key not in self._streams:
            self._streams[key] = self._places.stream()
        return self._streams[key]

    def _sampler(self, child: str, worker: int) -> Sampler:
        key = (child, worker)
        if key not in self._samplers:
            self._samplers[key] = self._places.sampler(self._ranks.get(child, 0), worker)
        return self._samplers[key]

    def _hand_over(self, trajectory: Trajectory) -> None:
        """Into the learner's queue, once that has room."""
        place = self._inbox.place_if_free()
        while place is None:
            if self._closed:
                return
            time.sleep(ROOM_S)  # the learner, another process, shares no lock that it could die with
            place = self._inbox.place_if_free()
        number, memory = place
        pack(self._layout.open(memory), trajectory, self._places.priorities(trajectory))
        self._inbox.queue(number)
        with self._lock:
            self.received += 1

    def _prepare(self, observations: Tensor) -> Tensor:
        if self._normalizer is None:
            return observations
        return torch.from_numpy(self._normalizer(observations.numpy()))

    def _observe(self, desk: SharedBlock) -> None:
        if self._normalizer is None or self._slot is None:
            return
        with self._statistics:
            both = np.stack([self._slot.numpy(), as_slot(moments(desk["observations"].numpy()))])
            self._slot = torch.from_numpy(as_slot(merge(both)))
            self._normalizer.use(from_slot(self._slot.numpy()))
