"""What an exchange promises to the two loops of ``conversation.py``."""

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
    """A message on its way down, and the hash of its arrays: one broadcast is hashed once, not once a child."""

    message: Message
    digest: bytes | None = None


class Global(NamedTuple):
    """The weights of one version; never written to again."""

    version: int
    weights: Tensor  # [N]
    slot: Tensor | None  # [1 + 2 D] float64: of the normaliser that belongs to it
    steps: int  # environment steps merged so far
    change: Tensor | None = None  # encoded, from the version before
    name: Future[str] | None = None  # of the weights, for who makes them of a change


class State(NamedTuple):
    """What has to be saved to go on as the same parent."""

    current: Global
    velocity: Tensor | None = None
    error: Tensor | None = None
    merged: Mapping[str, int] = {}  # the last counter merged from each child
    limits: Mapping[str, Any] = {}  # what is known of earlier uploads, to judge later ones by; plain numbers and names


class ChildSide(Protocol):
    """A child's half of an exchange. All calls but ``flush_stragglers`` come from the thread of its conversation."""

    def joined(self) -> None:
        """A conversation begins, the first or another after a broken one."""

    def outgoing(self) -> Iterable[Message]:
        """What is due now: an upload, telemetry, a request. Each is sent before the next is asked for."""

    def pause(self) -> float:
        """Seconds until something may be due."""

    def place(self, header: Header) -> Mapping[str, memoryview]:
        """Memory for what comes, see ``marl.wire.payload.Place``."""

    def accept(self, message: Message) -> None:
        """An answer or a call has come."""

    def rejected(self, reason: str) -> None:
        """What came must not be used."""


class ParentSide(Protocol):
    """The parent's half; every child has a thread of its own here."""

    def join(self, child: str) -> Answer:
        """A child is there; what it is told first."""

    def place(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """Memory for an upload; may wait for it."""

    def answer(self, child: str, message: Message) -> Answer | None:
        """Take what came and wait for what to say; None if nothing is to be said."""

    def rejected(self, child: str, reason: str) -> Answer | None:
        """What the child sent must not be used; what to say to that."""

    def patience(self, child: str) -> float:
        """Seconds to wait for the child's next message before ``late`` is asked."""

    def late(self, child: str) -> Answer | None:
        """Nothing came so far: what to say to that."""

    def leave(self, child: str) -> None:
        """The child's conversation has ended."""


class Serving(ChildSide, Protocol):
    """What the contact needs of a child's half besides; from any thread."""

    started: threading.Event  # weights are there: workers may begin

    @property
    def version(self) -> int:
        """Of the weights that are in place."""

    def flush_stragglers(self) -> None:
        """Upload what there is as soon as that may be."""

    def return_mean(self) -> float | None:
        """Of this child's last episodes."""

    def leave(self) -> None:
        """Wait for nobody any more: the conversation is to end."""

    def left(self) -> None:
        """The conversation has ended."""

    def remember(self) -> None:
        """Nobody listens: keep what is to be told when somebody does again."""


class RunSide(ParentSide, Protocol):
    """What the rest of the parent needs of its half besides; from any thread."""

    epoch: int

    @property
    def current(self) -> Global:
        """The newest weights."""

    @property
    def members(self) -> Mapping[str, Member]:
        """What is known of each child."""

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """A child's place in every sum, and how many workers it has; before it joins."""

    def forget(self, child: str) -> None:
        """The child has started anew: its counters begin again."""

    def release(self) -> None:
        """The newest version may go to the children, which wait for it in deterministic mode."""

    def last_round(self, seconds: float) -> None:
        """Have every child upload what it has, and take what comes within ``seconds``."""

    def saved(self) -> State:
        """Everything that a resumed parent needs."""

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int], limits: Mapping[str, Any]) -> None:
        """Go on from what ``saved`` said; before any child joins."""

    def close(self) -> None:
        """Everyone who waits for an answer gets none."""

    def audited(self) -> "Audited | None":
        """This half, where children upload what is merged and can be tried one by one; else None."""


class Standing(Enum):
    """Of a child, in the merging."""

    TAKES_PART = auto()
    QUARANTINED = auto()
    GONE = auto()


class Audited(Protocol):
    """What an audit needs of a parent's half that merges what children upload; from any thread."""

    @property
    def current(self) -> Global:
        """The newest weights."""

    def opposed(self) -> tuple[str, ...]:
        """Two children whose changes of the weights go against each other, of two in all."""

    def standing(self, child: str) -> Standing:
        """Whether something of a child can be expected."""

    def set_aside(self, child: str) -> None:
        """Merge nothing of a child, and wait for it no more, until ``take_back``."""

    def take_back(self, child: str) -> None:
        """The child may take part again, unless it is quarantined for another reason."""

    def go_back(self, to: Global) -> None:
        """The weights of an earlier version are the newest again."""

    def accuse(self, child: str, reason: str) -> None:
        """The child is found to lie: it is quarantined for long."""


class LearningSide(RunSide, Protocol):
    """Likewise of one that has a learner."""

    steps: int  # environment steps that have come, in all
    refused: int  # trajectories, or uploads of observations
    failure: Exception | None  # of a kind that no child and no new conversation can mend
