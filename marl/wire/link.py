"""The promise that every link keeps; what keeps it lives a floor higher, in ``marl/links``."""

from typing import Protocol

from marl.wire.message import Message
from marl.wire.payload import ReceiveBuffers


class Link(Protocol):
    """Moves whole messages between two nodes and knows nothing of learning. An ``Endpoint`` opens it.

        link.limit(num_bytes)
        link.send(upload)
        answer = link.recv(timeout=30.0, buffers=buffers_of({"weights": scratch}))

    - One thread may ``send`` and another ``recv`` at the same time; never two of a kind. ``close`` may be called from
      any thread, and twice; it ends a waiting ``send`` or ``recv`` with LinkClosed.
    - A message arrives whole, once, and in the order it was sent, or not at all.
    - ``buffers`` gives the receive buffers. It runs in the thread that called ``recv``, after the header and before a
      byte of payload is asked for. It may wait, which holds the sender back for as long; it may raise MessageRefused.
    - No error of a socket or a thread leaves a link except as one of the errors below.
    - A link between machines closes itself when the other side is silent for some seconds: a cable may break unnoticed.
    """

    protocol: int  # of the headers sent: ``OLDEST_PROTOCOL`` until both sides have agreed on another

    @property
    def address(self) -> str:
        """Where the other side is, for people."""
        ...

    @property
    def peer(self) -> str | None:
        """Id of the node at the other side, proved by what it cannot forge, such as a certificate; None: unproved."""
        ...

    @property
    def bytes_sent(self) -> int:
        """Since the link was opened, what is added to messages included."""
        ...

    @property
    def bytes_received(self) -> int:
        """Likewise."""
        ...

    @property
    def round_trip(self) -> float | None:
        """Seconds to the other side and back, measured last; None: not measured, by this side or so far."""
        ...

    def limit(self, max_bytes: int) -> None:
        """Set the longest payload that this end sends or takes; before, only messages without arrays pass."""

    def send(self, message: Message, digest: bytes | None = None) -> None:
        """Hand over one message; its arrays are free again when this returns.

        Args:
            digest: of the payload, where it is known from ``digest_of``: the same weights for many children are then
                hashed once. A link that keys its digests makes its own.

        Raises:
            LinkClosed: the other side is gone, or this side was closed.
            LinkTimeout: the other side takes no more. Half a message has left, so the link is closed now.
            MessageRefused: the message breaks a bound of its own header, or is longer than was agreed; nothing left.
        """

    def recv(self, timeout: float, buffers: ReceiveBuffers) -> Message:
        """Wait at most ``timeout`` seconds for the next message to begin; its arrays lie in the receive buffers.

        Raises:
            LinkClosed: the other side is gone, or this side was closed.
            LinkTimeout: nothing came; the link is still open.
            MessageRefused: what came must not be used, nor what lies in the receive buffers. Where ``buffers``
                or the hash refused, the link is still open: say why and go on, or close it. Where the header did
                (malformed, or longer than was agreed) nobody knows where the next message begins: it is closed.
        """

    def close(self) -> None:
        """End the conversation and free everything."""
