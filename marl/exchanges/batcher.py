"""Many requests answered by one pass of a network: as soon as enough have come, or the first has waited long enough."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Batcher(Generic[Request, Reply]):
    """Calls ``serve`` with lists of requests, in a thread of its own.

    with Batcher(serve, most=64, wait_s=0.0005) as batcher:
        reply = batcher.ask(request, size=16)   # from any thread
    """

    def __init__(self, serve: Callable[[list[Request]], list[Reply]], *, most: int, wait_s: float) -> None:
        """
        Args:
            most: sizes of waiting requests that are enough together.
            wait_s: seconds that the first request waits for others.
        """
        self._serve, self._most, self._wait_s = serve, most, wait_s
        self._changed = threading.Condition()
        self._waiting: list[_Ticket[Request, Reply]] = []
        self._size = 0
        self._closed = False
        self.passes = self.served = 0
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Batcher[Request, Reply]":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def ask(self, request: Request, size: int) -> Reply | None:
        """The reply to this request; None if the batcher is closed.

        Raises:
            Exception: what ``serve`` raised.
        """
        ticket: _Ticket[Request, Reply] = _Ticket(request)
        with self._changed:
            if self._closed:
                return None
            self._waiting.append(ticket)
            self._size += size
            self._changed.notify()
        ticket.done.wait()
        if ticket.error is not None:
            raise ticket.error
        return ticket.reply

    def close(self) -> None:
        """Answer nobody any more. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                deadline = time.monotonic() + self._wait_s
                while self._size < self._most and not self._closed:
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                        break
                tickets, self._waiting, self._size = self._waiting, [], 0
                closed = self._closed
            if closed:
                for ticket in tickets:
                    ticket.done.set()
                return
            try:
                for ticket, reply in zip(tickets, self._serve([each.request for each in tickets]), strict=True):
                    ticket.reply = reply
            except Exception as error:  # raised where it was asked for
                for ticket in tickets:
                    ticket.error = error
            self.passes, self.served = self.passes + 1, self.served + len(tickets)
            for ticket in tickets:
                ticket.done.set()


class _Ticket(Generic[Request, Reply]):
    """One request that waits."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.reply: Reply | None = None
        self.error: Exception | None = None
        self.done = threading.Event()
