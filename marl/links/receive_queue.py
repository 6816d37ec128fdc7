"""The parts of messages on their way from the thread that receives them to the one that asks for them."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from marl.errors import LinkClosed, LinkTimeout
from marl.wire.message import Buffer

MAX_PARTS = 64  # beside the bytes: empty parts cost memory too


class Landing(Protocol):
    """Takes the parts of one payload, in the thread that brings them."""

    @property
    def is_done(self) -> bool:
        """Nothing more belongs to it."""

    def room(self, size: int) -> memoryview | None:
        """Where a part of ``size`` bytes may be written before it is put; None: anywhere."""

    def put(self, part: Buffer) -> None:
        """The next part has come."""


class ReceiveQueue:
    """A queue that is bounded in bytes, that can be closed from either end, and that knows when it last grew."""

    def __init__(
        self,
        capacity: int,
        on_room: Callable[[], None] = lambda: None,
        on_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Hold up to ``capacity`` bytes and one part more.

        Args:
            on_room: called, in the thread that takes, when a queue that was full is half empty again.
            on_given_up: called, in the thread that takes, before ``pour`` fails: what ``room`` has given must not be
                written to any more.
        """
        self._capacity = capacity
        self._on_room, self._on_given_up = on_room, on_given_up
        # Guarded by the condition.
        self._changed = threading.Condition()
        self._parts: deque[Buffer] = deque()
        self._landing: Landing | None = None  # takes what comes, past the queue, which is empty then
        self._num_bytes = 0
        self._full = False
        self._grown = 0.0
        self._why: str | None = None
        self._sleeps = False  # there may be somebody who waits for what is there
        self.making_room = False  # the receiver has seen a header, and waits for memory for what follows

    def put(self, part: Buffer, *, wakes: bool = True) -> bool:
        """Add a part; False asks for no more until ``on_room`` is called. After ``close`` it is dropped.

        Args:
            wakes: whether to wake the thread that waits for it; no: ``wake`` is called later.
        """
        with self._changed:
            if self._why is not None:
                return True
            self._add(part, wakes)
            return not self._full

    def wake(self) -> None:
        """Let those wake up that wait for what has been put."""
        with self._changed:
            if self._sleeps:
                self._sleeps = False
                self._changed.notify_all()

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
            self._add(part, True)

    def room(self, size: int) -> memoryview | None:
        """Where a part of ``size`` bytes may be written before it is put; None: anywhere."""
        with self._changed:
            return None if self._landing is None else self._landing.room(size)

    def pour(self, landing: Landing, timeout: float, latest: Callable[[], float]) -> None:
        """Have ``landing`` take what is here and what comes, until it is done.

        Args:
            latest: on the monotonic clock, until when the next part must have come whole.

        Raises:
            LinkClosed, LinkTimeout: see ``take``.
        """
        try:
            with self._changed:
                while self._parts and not landing.is_done:
                    landing.put(self._pop())
                self._landing = None if landing.is_done else landing
                self._wait(lambda: landing.is_done, timeout, restarts=True, latest=latest)
        except BaseException:
            with self._changed:
                self._landing = None
            self._on_given_up()
            raise

    def note_growth(self) -> None:
        """A piece of a part has come: the time to wait for the rest starts again."""
        self._grown = time.monotonic()

    def take(self, timeout: float, latest: float = math.inf) -> Buffer:
        """The next part.

        Args:
            latest: on the monotonic clock, when it must have come whole.

        Raises:
            LinkClosed: the queue was closed, and nothing is left in it.
            LinkTimeout: nothing came for ``timeout`` seconds, not even part of a part, or not all of it until then.
        """
        return self._take(timeout, restarts=True, latest=latest)

    def begin(self, timeout: float) -> Buffer:
        """The first part of a message; as ``take``, but it has come whole after ``timeout`` seconds."""
        return self._take(timeout, restarts=False, latest=math.inf)

    def close(self, why: str, *, discard: bool) -> None:
        """Take no more; ``discard`` also what is here already. The first reason is the one that is told."""
        with self._changed:
            if self._why is None:
                self._why = why
            if discard:
                self._parts.clear()
                self._num_bytes = 0
            self._changed.notify_all()

    def _add(self, part: Buffer, wakes: bool) -> None:
        self._grown = time.monotonic()
        if self._landing is not None:
            self._landing.put(part)
            if not self._landing.is_done:
                return
            self._landing = None
        else:
            self._parts.append(part)
            self._num_bytes += len(part)
            self._full = self._full or self._num_bytes >= self._capacity or len(self._parts) >= MAX_PARTS
        if wakes:
            self._changed.notify_all()
        else:
            self._sleeps = True

    def _take(self, timeout: float, *, restarts: bool, latest: float) -> Buffer:
        with self._changed:
            self._wait(lambda: bool(self._parts), timeout, restarts=restarts, latest=lambda: latest)
            return self._pop()

    def _wait(
        self, is_there: Callable[[], bool], timeout: float, *, restarts: bool, latest: Callable[[], float]
    ) -> None:
        started = time.monotonic()
        while not is_there():
            if self._why is not None:
                raise LinkClosed(self._why)
            since = max(started, self._grown) if restarts else started
            now = time.monotonic()
            if now >= since + timeout:
                raise LinkTimeout(f"expected a message within {timeout:g} s, none came")
            if now >= latest():
                raise LinkTimeout("it comes too slowly")
            self._changed.wait(min(since + timeout, latest()) - now)

    def _pop(self) -> Buffer:
        part = self._parts.popleft()
        self._num_bytes -= len(part)
        if self._full and self._num_bytes <= self._capacity // 2 and len(self._parts) <= MAX_PARTS // 2:
            self._full = False
            self._changed.notify_all()
            self._on_room()
        return part
