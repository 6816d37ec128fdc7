"""The parts of messages on their way from the thread that receives them to the one that asks for them."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from marl.errors import LinkClosed, LinkTimeout
from marl.wire.message import Buffer

MAX_PARTS = 64  # beside the bytes: empty parts cost memory too


class Inbox:
    """A queue that is bounded in bytes, that can be closed from either end, and that knows when it last grew."""

    def __init__(self, capacity: int, on_room: Callable[[], None] = lambda: None) -> None:
        """Hold up to ``capacity`` bytes and one part more.

        Args:
            on_room: called, in the thread that takes, when a queue that was full is half empty again.
        """
        self._capacity = capacity
        self._on_room = on_room
        # Guarded by the condition.
        self._changed = threading.Condition()
        self._parts: deque[Buffer] = deque()
        self._num_bytes = 0
        self._full = False
        self._grown = 0.0
        self._why: str | None = None
        self.making_room = False  # whoever takes has seen a header, and waits for memory for what follows

    def put(self, part: Buffer) -> bool:
        """Add a part; False asks for no more until ``on_room`` is called. After ``close`` it is dropped."""
        with self._changed:
            if self._why is not None:
                return True
            self._add(part)
            return not self._full

    def put_or_wait(self, part: Buffer, patience: float) -> None:
        """Add a part as soon as there is room.

        Raises:
            LinkClosed: the queue was closed.
            LinkTimeout: nothing was taken for ``patience`` seconds, and nobody was making room.
        """
        with self._changed:
            # on_room may be late by half the queue, so the one who waits looks at every part that is taken.
            while self._full and self._why is None:
                before = self._num_bytes
                if not self._changed.wait(patience) and self._num_bytes == before and not self.making_room:
                    raise LinkTimeout(f"expected the other side to take a part within {patience:g} s, it took none")
            if self._why is not None:
                raise LinkClosed("the other side closed the link")
            self._add(part)

    def note_growth(self) -> None:
        """Part of a part has come: a wait for the rest begins anew."""
        self._grown = time.monotonic()

    def take(self, timeout: float, latest: float = math.inf) -> Buffer:
        """The next part.

        Args:
            latest: on the monotonic clock, when it must have come whole.

        Raises:
            LinkClosed: the queue was closed, and nothing is left in it.
            LinkTimeout: nothing came for ``timeout`` seconds, not even part of a part, or not all of it until then.
        """
        return self._take(timeout, started=time.monotonic(), restarts=True, latest=latest)

    def begin(self, timeout: float) -> Buffer:
        """The first part of a message; as ``take``, but it has come whole after ``timeout`` seconds."""
        return self._take(timeout, started=time.monotonic(), restarts=False, latest=math.inf)

    def close(self, why: str, *, discard: bool) -> None:
        """Take no more; ``discard`` also what is here already. The first reason is the one that is told."""
        with self._changed:
            if self._why is None:
                self._why = why
            if discard:
                self._parts.clear()
                self._num_bytes = 0
            self._changed.notify_all()

    def _add(self, part: Buffer) -> None:
        self._parts.append(part)
        self._num_bytes += len(part)
        self._full = self._full or self._num_bytes >= self._capacity or len(self._parts) >= MAX_PARTS
        self._grown = time.monotonic()
        self._changed.notify_all()

    def _take(self, timeout: float, *, started: float, restarts: bool, latest: float) -> Buffer:
        with self._changed:
            while not self._parts:
                if self._why is not None:
                    raise LinkClosed(self._why)
                since = max(started, self._grown) if restarts else started
                now = time.monotonic()
                if now >= since + timeout:
                    raise LinkTimeout(f"expected a message within {timeout:g} s, none came")
                if now >= latest:
                    raise LinkTimeout("it comes too slowly")
                self._changed.wait(min(since + timeout, latest) - now)
            part = self._parts.popleft()
            self._num_bytes -= len(part)
            room = self._full and self._num_bytes <= self._capacity // 2 and len(self._parts) <= MAX_PARTS // 2
            if room:
                self._full = False
                self._changed.notify_all()
        if room:
            self._on_room()
        return part
