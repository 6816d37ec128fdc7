"""The interfaces of the two sides of an exchange, which the loops of ``conversation.py`` call."""

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from marl.exchanges.member import Member
from marl.wire.header import Header
from marl.wire.message import Message


class Answer(NamedTuple):
    """A message to a child, and the hash of its arrays, so that a broadcast is hashed once and not once per child."""

    message: Message
    digest: bytes | None = None


class Moments(NamedTuple):
    """Moments of the children's optimizers, averaged; never written to again."""

    vectors: Tensor  # [K, P]
    steps: int  # that the optimizer of the middle child has made


class Global(NamedTuple):
    """The weights of one version; never written to again."""

    version: int
    weights: Tensor  # [N]
    statistics: Tensor | None  # [1 + 2 D] float64: the normaliser's statistics of this version
    steps: int  # environment steps merged so far
    # From the version before to this one: encoded, or the new weights of the one part that has changed; pairwise: all.
    delta: Tensor | None = None
    name: Future[str] | None = None  # hash of the weights, for children that compute them from ``delta``
    updates: int | None = None  # optimizer steps of this parent until then; None: children make their own, and report
    moments: Moments | None = None  # where children share them, once a round has a mean
    rests: bool = True  # in deterministic mode: all children wait for ``release``, or will, before they go on


class State(NamedTuple):
    """What a parent saves, so that a resumed parent can continue."""

    current: Global
    velocity: Tensor | None = None
    error: Tensor | None = None
    merged: Mapping[str, int] = {}  # the last counter merged from each child
    limits: Mapping[str, Any] = {}  # what earlier uploads have shown, to check later ones; plain numbers and names
    optimizer: Mapping[str, Tensor] = {}  # state of an optimizer of the parent, and moments of those of the children


class ChildSide(Protocol):
    """A child's side of an exchange. All calls but ``flush_stragglers`` come from the thread of its conversation."""

    def joined(self) -> None:
        """A conversation begins: the first one, or the next one after a break."""

    def outgoing(self) -> Iterable[Message]:
        """What is due now: an upload, telemetry, a request. Each is sent before the next is asked for."""

    def pause(self) -> float:
        """Seconds until something may be due."""

    def receive_buffers(self, header: Header) -> Mapping[str, memoryview]:
        """Memory for what comes, see ``marl.wire.payload.ReceiveBuffers``."""

    def accept(self, message: Message) -> None:
        """A broadcast, another answer, or a straggler flush has come."""

    def rejected(self, reason: str) -> None:
        """The message that came must not be used."""


class ParentSide(Protocol):
    """The parent's side; every child has a thread of its own here."""

    def join(self, child: str) -> Answer:
        """A child has joined. Returns the first message to it."""

    def receive_buffers(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """Memory for an upload; may wait until some is free."""

    def answer(self, child: str, message: Message) -> Answer | None:
        """Process a message, and wait until its answer is known. None if there is no answer."""

    def rejected(self, child: str, reason: str) -> Answer | None:
        """The child's message must not be used. Returns an answer, or None."""

    def patience(self, child: str) -> float:
        """Seconds to wait for the child's next message before ``late`` is asked."""

    def late(self, child: str) -> Answer | None:
        """Nothing came within ``patience``. Returns a message to the child, or None."""

    def leave(self, child: str) -> None:
        """The child's conversation has ended."""


class Serving(ChildSide, Protocol):
    """What the contact needs besides ``ChildSide``; may be called from any thread."""

    started: threading.Event  # weights are there: workers may begin

    @property
    def version(self) -> int:
        """The version of the weights that are in place."""

    def flush_stragglers(self) -> None:
        """Upload what there is as soon as possible."""

    def return_mean(self) -> float | None:
        """The mean return of this child's last episodes; None if there are none."""

    def leave(self) -> None:
        """The conversation is to end: stop all waits."""

    def left(self) -> None:
        """The conversation has ended."""

    def remember(self) -> None:
        """No parent is connected: keep the episodes that are to be reported later."""


class RunSide(ParentSide, Protocol):
    """What the rest of the parent needs besides ``ParentSide``; may be called from any thread."""

    term: int

    @property
    def current(self) -> Global:
        """The newest weights."""

    @property
    def members(self) -> Mapping[str, Member]:
        """What is known of each child."""

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """Set a child's rank and number of workers, before it joins. All sums add children in the order of ranks."""

    def forget(self, child: str) -> None:
        """The child was restarted: its counters begin at 0."""

    def release(self) -> None:
        """Let the newest version go to the children, which wait for this in deterministic mode."""

    def catch_up(self, steps: int) -> None:
        """Children have reported that they have played this many steps in all, which is enough: let ``current`` count
        them as soon as possible. May be called again and again; not in deterministic mode.
        """

    def last_round(self, seconds: float) -> None:
        """Have every child upload what it has, and take what comes within ``seconds``."""

    def saved(self) -> State:
        """Everything that a resumed parent needs."""

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int], limits: Mapping[str, Any]) -> None:
        """Continue from a ``saved`` state; called before any child joins."""

    def close(self) -> None:
        """End all waits; threads that wait for an answer get none."""

    def audited(self) -> "Audited | None":
        """This side, if it merges uploads and can let children train alone, to test them; else None."""


class Standing(Enum):
    """Whether uploads of a child are merged."""

    TAKES_PART = auto()
    QUARANTINED = auto()
    GONE = auto()


class Audited(Protocol):
    """What an audit needs of a parent's side, to find a child that uploads poisoned weights; from any thread."""

    @property
    def current(self) -> Global:
        """The newest weights."""

    def opposed(self) -> tuple[str, ...]:
        """The two children of the run, if their deltas point against each other; else empty."""

    def standing(self, child: str) -> Standing:
        """Whether uploads of a child can be expected and merged."""

    def set_aside(self, child: str) -> None:
        """Until ``take_back``, merge nothing of this child and do not wait for it."""

    def take_back(self, child: str) -> None:
        """The child may take part again, unless it is quarantined for another reason."""

    def go_back(self, to: Global) -> None:
        """Make the weights of an earlier version the newest ones again."""

    def accuse(self, child: str, reason: str) -> None:
        """The child is found to lie: it is quarantined for long."""


class LearningSide(RunSide, Protocol):
    """The parent's side of an exchange that has a learner."""

    steps: int  # environment steps that have come, in all
    refused: int  # trajectories, or uploads of observations
    failure: BaseException | None  # an error that no child and no new conversation can repair
