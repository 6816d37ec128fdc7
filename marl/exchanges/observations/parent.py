"""The observations exchange at the parent (SEED): it chooses the actions of all environments, and learns.

Espeholt et al., "SEED RL: Scalable and Efficient Deep-RL with Accelerated Central Inference" (2020). Trajectories are
put together here, where observations arrive and actions are chosen, and go into the learner's queue. While the queue
is full, the parent does not answer, so the environments wait.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.acting.decide import ActionNoise, Answers, Question
from marl.acting.streams import Answered, Stream
from marl.data.layout import Values, at, joined, mapped
from marl.data.normalizer import Normalizer, as_row, from_row, statistics_of
from marl.data.preprocess import Preprocess
from marl.data.replay.rollout import pack
from marl.data.requests import GROUP, WORKER, RequestLayout, Requests, check_requests
from marl.data.trajectory import Trajectory
from marl.errors import LinkClosed, MessageRefused
from marl.exchanges.child_reports import report_buffers, report_every
from marl.exchanges.experience.credit import ActorMember
from marl.exchanges.experience.parent import ExperienceParent
from marl.exchanges.observations.batcher import Batcher
from marl.exchanges.observations.transfer import RequestReceiver
from marl.exchanges.sides import Answer
from marl.failpoints import fail
from marl.networks.sampling import Sampler
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message, Value
from marl.wire.receive_buffers import buffers_of, no_buffers

MAX_WORKERS = 1024  # of one child
ROOM_S = 0.0003  # seconds between two looks whether the queue has room
NEWER = 1.01  # new statistics are used once their number of observations has grown by this factor

ALONE = 0, MAX_WORKERS  # rank and workers of a child that nobody has given a rank
Numbers = npt.NDArray[Any]


class Places(NamedTuple):
    """What the exchange makes anew for a child."""

    stream: Callable[[], Stream]
    sampler: Callable[[int, int, int], Sampler]  # arguments: rank of a child, number of a worker, workers of that child
    priorities: Callable[[Trajectory], Tensor | None]
    preprocess: Preprocess


class _Workspace:
    """What is kept for one child while it takes part."""

    def __init__(self, layout: RequestLayout) -> None:
        self.receiver = RequestReceiver(layout)
        self.streams: dict[tuple[int, int], Stream] = {}  # by worker and group
        self.noises: dict[tuple[int, int], ActionNoise] = {}  # likewise
        self.samplers: dict[int, Sampler] = {}  # by worker


class ObservationsParent(ExperienceParent):
    """See ``ParentSide``."""

    def begin(
        self, layout: RequestLayout, places: Places, batcher: Batcher[Question, Answers], noise_length: int
    ) -> None:
        """Set what is needed to choose actions; called before any child joins.

        Args:
            noise_length: steps for which a sampler draws at once.
        """
        self._request_layout, self._places, self._batcher = layout, places, batcher
        self._noise_length = noise_length
        self._workspaces: dict[str, _Workspace] = {}
        self._ranks: dict[str, tuple[int, int]] = {}  # of children, with the number of their workers
        self._statistics = threading.Lock()  # guards the normaliser's
        self._normalizer: Normalizer | None = None  # replaced, never changed: many threads use it
        if self._observed is not None:
            self._use(self._observed.statistics.numpy())

    def num_live(self) -> int:
        """Children whose conversations go on: how many can ask at once."""
        return sum(each.live for each in self.members.copy().values())

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """Exploration may depend on a worker's place among all."""
        self._ranks[child] = rank, workers

    def close(self) -> None:
        """Choose no more actions."""
        super().close()
        self._batcher.close()

    def join(self, child: str) -> Answer:
        """See ``ParentSide``."""
        self._workspaces[child] = _Workspace(self._request_layout)
        return super().join(child)

    def leave(self, child: str) -> None:
        """See ``ParentSide``. Its unfinished trajectories are dropped."""
        super().leave(child)
        self._workspaces.pop(child, None)

    def receive_buffers(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        self.members[child].arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return report_buffers(header)
        if header.kind is not Kind.UPLOAD:
            return no_buffers(header)
        shapes = {entry.name: entry.shape for entry in header.manifest}
        return buffers_of(self._workspaces[child].receiver.tensors(shapes))(header)

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        return 0.5

    def late(self, child: str) -> Answer | None:
        """Nothing to do: the parent only answers."""
        return None

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``. End the conversation: in a new one the child asks again, here it would wait for ever."""
        if self.members[child].arriving == Kind.TELEMETRY:
            return super().rejected(child, reason)
        raise self._unusable(child, reason)

    def _unusable(self, child: str, reason: str) -> LinkClosed:
        self.refused += 1
        return LinkClosed(f"observations of {child} cannot be used: {reason}")

    def _answer_upload(self, member: ActorMember, upload: Message) -> Answer | None:
        workspace = self._workspaces[member.name]
        count = len(upload.arrays["requests"])
        try:
            places = _places_of(workspace.receiver.headers(count), self._ranks.get(member.name, ALONE)[1])
            requests = workspace.receiver.whole(count, len(upload.arrays.get("frames", ())))
            check_requests(requests, self._request_layout)
        except MessageRefused as error:
            raise self._unusable(member.name, str(error)) from error
        streams = [self._stream(workspace, place) for place in places]
        seen = self._prepare(requests["observations"])
        questions: list[int] = []
        follow: list[int] = []
        for number, (stream, answered) in enumerate(zip(streams, self._answered(requests, seen), strict=True)):
            questions.append(answered.question)
            if stream.follows(answered):
                follow.append(number)
            trajectory = stream.take(answered)
            if trajectory is not None:
                self._hand_over(trajectory)
        self._count(member.name, requests, follow)
        fail("parent.deciding")
        size = count * self._request_layout.num_environments
        with self._own_code():
            question = Question(
                mapped(lambda each: torch.from_numpy(each.reshape(size, *each.shape[2:])), seen),
                joined([each.state() for each in streams]),
                [self._action_noise(member.name, workspace, place) for place in places],
            )
            answers = self._batcher.ask(question, size)
        if answers is None:
            return None
        actions, behaviour = (self._by_request(count, each).numpy() for each in (answers.actions, answers.behaviour))
        state = mapped(lambda each: self._by_request(count, each), answers.state)
        for number, stream in enumerate(streams):
            stream.decided(questions[number], actions[number], behaviour[number], at(state, number), answers.version)
        return self._say(member, answers.version, {"actions": torch.from_numpy(actions)}, upload.counter)

    @contextlib.contextmanager
    def _own_code(self) -> Iterator[None]:
        """Remember an error of the parent's network or samplers as ``failure``: a repeated request would fail, too."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.failure = error
            raise

    def _by_request(self, count: int, rows: Tensor) -> Tensor:
        return rows.reshape(count, self._request_layout.num_environments, *rows.shape[1:])

    def _reply(self, member: ActorMember) -> Answer:
        return self._say(member, self._newest.version())

    def _say(
        self, member: ActorMember, version: int, arrays: Mapping[str, Array] | None = None, counter: int = 0
    ) -> Answer:
        """``counter``: of the upload that this message answers; 0: of none."""
        member.version, member.answered_at = version, self._clock()
        info: dict[str, Value] = {"report_every": report_every(len(self.members))}
        return Answer(Message(Kind.ANSWER, self._name, self.term, version, counter, arrays or {}, info))

    def _stream(self, workspace: _Workspace, place: tuple[int, int]) -> Stream:
        if place not in workspace.streams:
            workspace.streams[place] = self._places.stream()
        return workspace.streams[place]

    def _action_noise(self, child: str, workspace: _Workspace, place: tuple[int, int]) -> ActionNoise:
        worker = place[0]
        if worker not in workspace.samplers:
            rank, workers = self._ranks.get(child, ALONE)
            workspace.samplers[worker] = self._places.sampler(rank, worker, workers)
        if place not in workspace.noises:
            environments = self._request_layout.num_environments
            workspace.noises[place] = ActionNoise(workspace.samplers[worker], self._noise_length, environments)
        return workspace.noises[place]

    def _answered(self, requests: Requests, seen: Values) -> list[Answered]:
        """What each request says."""
        answered = []
        for request, (_, _, question, first, num_last) in enumerate(requests["header"][:, :5].tolist()):
            last = at(requests["last_observations"], (request, slice(num_last)))
            answered.append(
                Answered(
                    question,
                    bool(first),
                    at(seen, request),
                    requests["rewards"][request],
                    requests["ends"][request],
                    self._prepare(last) if num_last else last,
                    requests["last_index"][request, :num_last],
                )
            )
        return answered

    def _hand_over(self, trajectory: Trajectory) -> None:
        """Put a trajectory into the learner's queue, once that has room."""
        with self._own_code():
            priorities = self._places.priorities(trajectory)
        place = self._trajectory_queue.place_if_free()
        while place is None:
            if self._closed:
                return
            time.sleep(ROOM_S)  # poll: a lock would stay locked if the learner died with it
            place = self._trajectory_queue.place_if_free()
        number, _ = place
        pack(self._rollouts[number], trajectory, priorities)
        self._trajectory_queue.queue(number)

    def _count(self, child: str, requests: Requests, follow: list[int]) -> None:
        """Count the steps that actions led to: those in requests ``follow``. A repeated request is not among these."""
        if not follow:
            return
        steps = int(np.count_nonzero(requests["ends"][follow, 2]))
        with self._lock:
            self.steps += steps
        if self._observed is None:
            return
        numbers = self._places.preprocess.numbers(at(requests["observations"], follow))
        new = torch.from_numpy(as_row(statistics_of(numbers.reshape(-1, numbers.shape[-1]))))
        with self._statistics:
            try:
                self._observed.add(child, new, float(new[0]))
            except MessageRefused as error:
                raise self._unusable(child, str(error)) from error
            row = self._observed.statistics.numpy()
            if row[0] >= NEWER * self._used:
                self._use(row)

    def _use(self, row: npt.NDArray[np.float64]) -> None:
        normalizer = Normalizer((len(row) - 1) // 2)
        normalizer.use(from_row(row))
        self._normalizer, self._used = normalizer, float(row[0])

    def _prepare(self, rows: Values) -> Values:
        """Observations as the network sees them. If nothing is normalised, requests have them in this form already."""
        return rows if self._normalizer is None else self._places.preprocess(rows, self._normalizer)


def _places_of(headers: Numbers, workers: int) -> list[tuple[int, int]]:
    """Worker and group of each request, by their headers.

    Raises:
        MessageRefused: there can be no such worker, or a request comes twice.
    """
    places = [(worker, group) for worker, group in headers[:, [WORKER, GROUP]].tolist()]
    if max(places)[0] >= min(workers, MAX_WORKERS):
        raise MessageRefused(f"expected one of {workers} workers, got number {max(places)[0]}")
    if len(set(places)) < len(places):
        raise MessageRefused("expected each request once in a message")
    return places
