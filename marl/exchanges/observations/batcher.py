"""Many requests answered by one pass of a network: as soon as enough have come, or the first has waited long enough.

A batcher has no thread. The thread that asks first becomes the leader: it waits for further requests, then serves all
of them. Meanwhile, the next thread that asks becomes the leader of the next batch.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Batcher(Generic[Request, Reply]):
    """Calls ``serve`` with lists of requests, one list at a time.

    batcher = Batcher(serve, most=64, wait_s=0.0005)
    reply = batcher.ask(request, size=16)   # from any thread
    """

    def __init__(
        self,
        serve: Callable[[list[Request]], list[Reply]],
        *,
        most: int,
        wait_s: float,
        crowd: Callable[[], int] = lambda: 2**30,
        clock: Callable[[], float] = time.monotonic,
        condition: Callable[[], threading.Condition] = threading.Condition,
    ) -> None:
        """
        Args:
            most: total size of the waiting requests at which they are served at once.
            wait_s: seconds that the first request waits for others.
            crowd: returns how many threads can ask; once that many wait, their requests are served at once.
        """
        self._serve, self._most, self._wait_s, self._crowd, self._clock = serve, most, wait_s, crowd, clock
        self._changed = condition()  # guards all below
        self._waiting: list[_Ticket[Request, Reply]] = []
        self._size = 0
        self._led = self._serving = self._closed = False

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
            leads = not self._led
            if leads:
                tickets = self._gather()
            elif self._enough():
                self._changed.notify()
        if leads:
            self._answer(tickets)
        else:
            ticket.answered.wait()
        if ticket.error is not None:
            raise ticket.error
        return ticket.reply

    def close(self) -> None:
        """Answer nobody any more. May be called twice."""
        with self._changed:
            self._closed = True
            for ticket in self._waiting:
                ticket.answered.set()
            self._changed.notify()

    def _enough(self) -> bool:
        return self._size >= self._most or len(self._waiting) >= self._crowd()

    def _gather(self) -> "list[_Ticket[Request, Reply]]":
        """Wait for further requests, as the leader. Returns all that are to be served now; none if closed."""
        self._led = True
        deadline = self._clock() + self._wait_s
        while not self._closed:
            left = deadline - self._clock()
            if self._serving:
                self._changed.wait()
            elif left > 0 and not self._enough():
                self._changed.wait(left)
            else:
                break
        tickets, self._waiting, self._size = self._waiting, [], 0
        self._led, self._serving = False, not self._closed
        return [] if self._closed else tickets

    def _answer(self, tickets: "list[_Ticket[Request, Reply]]") -> None:
        if not tickets:
            return
        try:
            replies = self._serve([each.request for each in tickets])
            for ticket, reply in zip(tickets, replies, strict=True):
                ticket.reply = reply
        except Exception as error:  # each thread that asked raises it
            for ticket in tickets:
                ticket.error = error
        finally:
            with self._changed:
                self._serving = False
                self._changed.notify()
            for ticket in tickets:
                ticket.answered.set()


class _Ticket(Generic[Request, Reply]):
    """One request that waits."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.reply: Reply | None = None
        self.error: Exception | None = None
        self.answered = threading.Event()
