"""What an exchange promises to the two loops of ``conversation.py``."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from marl.wire.header import Header
from marl.wire.message import Message


class Answer(NamedTuple):
    """A message on its way down, and the hash of its arrays: one broadcast is hashed once, not once a child."""

    message: Message
    digest: bytes | None = None


class ChildSide(Protocol):
    """A child's half of an exchange. All calls but ``hurry`` come from the thread of its conversation."""

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

    def spoiled(self, reason: str) -> None:
        """What came must not be used."""


class ParentSide(Protocol):
    """The parent's half; every child has a thread of its own here."""

    def join(self, child: str) -> Answer:
        """A child is there; what it is told first."""

    def place(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """Memory for an upload; may wait for it."""

    def answer(self, child: str, message: Message) -> Answer | None:
        """Take what came and wait for what to say; None if nothing is to be said."""

    def spoiled(self, child: str, reason: str) -> Answer | None:
        """What the child sent must not be used; what to say to that."""

    def patience(self, child: str) -> float:
        """Seconds to wait for the child's next message before ``late`` is asked."""

    def late(self, child: str) -> Answer | None:
        """Nothing came so far: what to say to that."""

    def leave(self, child: str) -> None:
        """The child's conversation has ended."""
