"""Requests in one pass: by size, by time, or because everybody asks. Time passes when a test says so."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from marl.exchanges.observations.batcher import Batcher

WAIT_S, PATIENCE_S = 2.0, 20.0


class Watched(threading.Condition):
    """A condition that tells when somebody waits at it, and whose seconds pass when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waiting = threading.Semaphore(0)
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        self.waiting.release()
        return super().wait(PATIENCE_S)

    def pass_time(self, seconds: float) -> None:
        with self:
            self.now += seconds
            self.notify_all()


class Table:
    """A batcher, and threads that ask it."""

    def __init__(self, serve: Callable[[list[int]], list[int]] | None = None, **options: Any) -> None:
        self.watched = Watched()
        self.lists: list[list[int]] = []
        self.arrived = threading.Semaphore(0)

        def negate(requests: list[int]) -> list[int]:
            self.lists.append(requests)
            return [-each for each in requests]

        self.batcher: Batcher[int, int] = Batcher(
            serve or negate,
            **{"most": 4, "wait_s": WAIT_S, **options},
            clock=lambda: self.watched.now,
            condition=lambda: self.watched,
        )
        self.answers: dict[int, Any] = {}
        self.threads: list[threading.Thread] = []

    def ask(self, request: int, size: int = 1) -> None:
        def run() -> None:
            try:
                self.answers[request] = self.batcher.ask(request, size)
            except Exception as error:
                self.answers[request] = error

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def lead(self, request: int, size: int = 1) -> None:
        """The first to ask; it waits for others when this returns."""
        self.ask(request, size)
        assert self.watched.waiting.acquire(timeout=PATIENCE_S)

    def follow(self, request: int, size: int = 1) -> None:
        """Another one; its request lies there when this returns."""
        before = len(self.batcher._waiting)
        self.ask(request, size)
        while self.batcher._waiting and len(self.batcher._waiting) == before:
            threading.Event().wait(0.001)  # nothing tells us of a request that wakes nobody

    def join(self) -> dict[int, Any]:
        for thread in self.threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self.threads)
        return self.answers


def test_enough_environments_are_served_at_once() -> None:
    table = Table()
    table.lead(1, size=2)
    table.ask(2, size=2)
    assert table.join() == {1: -1, 2: -2}
    assert table.lists == [[1, 2]]
    assert table.watched.now == 0


def test_one_that_is_enough_alone_waits_for_nobody() -> None:
    table = Table()
    table.ask(1, size=4)
    assert table.join() == {1: -1}
    assert table.watched.waits == []


def test_the_first_waits_no_longer_than_it_was_said() -> None:
    table = Table()
    table.lead(1)
    table.follow(2)
    table.watched.pass_time(0.75 * WAIT_S)
    assert table.watched.waiting.acquire(timeout=PATIENCE_S)
    assert table.watched.waits == [WAIT_S, 0.25 * WAIT_S]  # the second did not make it longer
    table.watched.pass_time(0.25 * WAIT_S)
    assert table.join() == {1: -1, 2: -2}
    assert table.lists == [[1, 2]]


def test_where_everybody_asks_nobody_is_waited_for() -> None:
    table = Table(most=1000, crowd=lambda: 3)
    table.lead(1)
    table.follow(2)
    table.ask(3)
    assert table.join() == {1: -1, 2: -2, 3: -3}
    assert len(table.lists) == 1
    assert table.watched.now == 0


def test_what_comes_while_others_are_served_is_served_next_and_together() -> None:
    begun, go_on = threading.Event(), threading.Event()
    lists = []

    def slowly(requests: list[int]) -> list[int]:
        lists.append(list(requests))
        if len(lists) == 1:
            begun.set()
            assert go_on.wait(PATIENCE_S)
        return requests

    table = Table(slowly, most=1)
    table.ask(1)
    assert begun.wait(PATIENCE_S)
    table.lead(2)
    table.follow(3)
    table.follow(4)
    assert lists == [[1]]  # one list at a time: the network is one
    go_on.set()
    assert table.join() == {1: 1, 2: 2, 3: 3, 4: 4}
    assert lists == [[1], [2, 3, 4]]


def test_an_error_reaches_everybody_who_asked_and_nobody_after() -> None:
    failing = [True]

    def serve(requests: list[int]) -> list[int]:
        if failing[0]:
            raise ValueError("the network broke")
        return requests

    table = Table(serve, most=2)
    table.lead(1)
    table.ask(2)
    answers = table.join()
    assert [str(answers[each]) for each in (1, 2)] == ["the network broke"] * 2
    failing[0] = False
    assert table.batcher.ask(3, 2) == 3


def test_too_few_replies_are_an_error() -> None:
    table = Table(lambda requests: [], most=1)
    with pytest.raises(ValueError, match="zip"):
        table.batcher.ask(1, 1)


def test_closing_wakes_all_who_wait() -> None:
    table = Table()
    table.lead(1)
    table.follow(2)
    table.batcher.close()
    table.batcher.close()
    assert table.join() == {1: None, 2: None}
    assert table.batcher.ask(3, 100) is None
    assert table.lists == []


def test_those_who_are_being_served_get_their_reply_even_so() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(requests: list[int]) -> list[int]:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return requests

    table = Table(slowly, most=1)
    table.ask(1)
    assert begun.wait(PATIENCE_S)
    table.lead(2)
    table.batcher.close()
    go_on.set()
    assert table.join() == {1: 1, 2: None}


def test_hundreds_of_requests_from_many_threads_are_all_answered() -> None:
    batcher: Batcher[int, int] = Batcher(lambda requests: [2 * each for each in requests], most=3, wait_s=1e-4)
    answers: list[list[int | None]] = [[] for _ in range(8)]

    def asks(number: int) -> None:
        answers[number] = [batcher.ask(100 * number + each, 1) for each in range(100)]

    threads = [threading.Thread(target=asks, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert answers == [[2 * (100 * number + each) for each in range(100)] for number in range(8)]
