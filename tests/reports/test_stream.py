"""No sink can hold up or end a run, whatever it does."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.errors import PluginError
from marl.reports import stream
from marl.reports.events import Checkpointed, Ended, Event, Warned
from marl.reports.sinks.sink import Facts
from marl.reports.stream import Stream
from tests.commands import until

FACTS = Facts(
    folder=Path("x"), environment="E", algorithm="a3c", exchange="weights", seed=1, settings={}, steps=7, seconds=2.5
)
WAIT_S = 10.0


class Keeps:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.closed = 0

    def begin(self, facts: Facts) -> None:
        self.facts = facts

    def on(self, event: Event) -> None:
        self.heard.append(event)

    def close(self) -> None:
        self.closed += 1

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.heard if isinstance(event, Warned)]


class Fails(Keeps):
    """Raises where it is told to."""

    def __init__(self, *where: str, error: BaseException | None = None) -> None:
        super().__init__()
        self.where, self.error = where, error or ValueError("no such host")
        self.calls = 0

    def begin(self, facts: Facts) -> None:
        if "begin" in self.where:
            raise self.error

    def on(self, event: Event) -> None:
        self.calls += 1
        if "on" in self.where or ("once" in self.where and self.calls == 1):
            raise self.error
        super().on(event)

    def close(self) -> None:
        super().close()
        if "close" in self.where:
            raise self.error


class Hangs(Keeps):
    """Waits in one of its methods until the test is over."""

    over = threading.Event()

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def begin(self, facts: Facts) -> None:
        if self.where == "begin":
            self.over.wait()

    def on(self, event: Event) -> None:
        if self.where == "on":
            self.over.wait()
        super().on(event)

    def close(self) -> None:
        if self.where == "close":
            self.over.wait()


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    Hangs.over.clear()
    yield
    Hangs.over.set()
    for thread in threading.enumerate():
        if thread.name.startswith("sink "):
            thread.join(WAIT_S)


def begun(own: Any) -> tuple[Stream, Keeps]:
    """A stream to a sink, and to another that hears what became of it."""
    other = Keeps()
    events = Stream({"mine:Sink": own, "events": other})
    events.begin(FACTS)
    return events, other


def test_sinks_hear_everything_in_order_and_when_it_happened() -> None:
    events, other = begun(Keeps())
    events.note("before")
    events.follow(lambda: (4.0, 90))
    events.note("a")
    events.on(Checkpointed(file="x", steps=80))
    events.on(Ended(reason="steps"))
    events.close()
    events.close()
    kinds = [type(event) for event in other.heard]
    assert kinds == [Warned, Warned, Checkpointed, Ended]
    assert [(event.seconds, event.steps) for event in other.heard] == [
        (2.5, 7), (4.0, 90), (4.0, 80), (4.0, 90)
    ]  # fmt: skip
    assert all(abs(event.time - time.time()) < 60 for event in other.heard)
    assert other.closed == 1


def test_a_sink_can_tell_the_user_something() -> None:
    own = Keeps()
    events, other = begun(own)
    own.facts.note("a line")
    events.close()
    assert other.warnings == ["a line"]


def test_an_error_is_told_once_and_the_sink_hears_the_next_event() -> None:
    own = Fails("once")
    events, other = begun(own)
    events.note("first")
    events.note("next")
    events.close()
    assert own.warnings[0] == "next"
    assert other.warnings[-1] == "the sink mine:Sink failed (ValueError: no such host): the run goes on"
    (trace,) = [event.trace for event in other.heard if isinstance(event, Warned) and event.trace]
    assert "ValueError: no such host" in trace
    assert own.closed == 1


@pytest.mark.parametrize("error", [ValueError("no such host"), SystemExit(1), KeyboardInterrupt()])
def test_a_sink_that_keeps_failing_is_switched_off(error: BaseException) -> None:
    own = Fails("on", error=error)
    events, other = begun(own)
    for number in range(10):
        events.note(str(number))
    events.close()
    assert own.calls == stream.MOST_ERRORS
    assert own.closed == 1
    about = [text for text in other.warnings if "mine:Sink" in text]
    assert len(about) == 2
    assert about[1] == "the sink mine:Sink failed 3 times in a row: it is switched off"


@pytest.mark.parametrize(("where", "verb"), [("begin", "cannot begin"), ("close", "cannot end")])
def test_a_sink_that_fails_at_the_ends(where: str, verb: str) -> None:
    own = Fails(where)
    events, other = begun(own)
    events.close()
    assert other.warnings == [f"the sink mine:Sink {verb} (ValueError: no such host): the run goes on"]
    assert own.closed == (where == "close")


@pytest.mark.parametrize("where", ["begin", "on", "close"])
def test_a_sink_that_hangs_is_not_waited_for(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BEGIN_S", 0.05)
    monkeypatch.setattr(stream, "CLOSE_S", 0.05)
    monkeypatch.setattr(stream, "GRACE_S", 0.05)
    events, other = begun(Hangs(where))
    events.on(Ended(reason="steps"))
    events.close()
    assert other.closed == 1
    told = "\n".join(other.warnings)
    assert "the sink mine:Sink did not end in time" in told
    assert ("has not begun within 0.05 s" in told) == (where == "begin")
    assert any(isinstance(event, Ended) for event in other.heard)


class Slow(Keeps):
    """Closes when the test lets it."""

    patience_s = WAIT_S

    def close(self) -> None:
        Hangs.over.wait()
        super().close()


def test_a_sink_with_patience_is_waited_for_though_another_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CLOSE_S", 0.05)
    hanging, slow = Hangs("close"), Slow()
    events = Stream({"mine:Sink": hanging, "tensorboard": slow})
    events.begin(FACTS)
    closing = threading.Thread(target=events.close)
    closing.start()
    until(lambda: slow.warnings)  # the one that hangs was given up
    assert closing.is_alive()
    Hangs.over.set()
    closing.join(WAIT_S)
    assert (closing.is_alive(), slow.closed) == (False, 1)


def test_no_patience_holds_up_the_end_beyond_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sinks ask for it; each waits in a ``join``, whose seconds are counted instead of spent."""
    monkeypatch.setattr(stream, "MOST_CLOSE_S", 2.5 * WAIT_S)
    waits, now = list[float](), [0.0]

    def join(lane: Any, seconds: float) -> bool:
        waits.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr(stream._Lane, "end", join)
    monkeypatch.setattr(stream, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    Stream({str(number): Slow() for number in range(5)}).close()
    assert waits == [WAIT_S, WAIT_S, WAIT_S / 2, stream.GRACE_S, stream.GRACE_S]


def test_a_bad_patience_is_refused_before_anything_begins() -> None:
    sink = Keeps()
    sink.patience_s = "20 s"  # type: ignore[attr-defined]
    with pytest.raises(PluginError, match="expected patience_s of mine:Sink to be 0 to 30 seconds, got '20 s'"):
        Stream({"mine:Sink": sink})


def test_what_is_dropped_is_counted_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_WAITING", 5)
    monkeypatch.setattr(stream, "CLOSE_S", 0.05)
    own, other = Hangs("on"), Keeps()
    events = Stream({"mine:Sink": own, "events": other})
    events.begin(FACTS)
    events.note("first")
    until(lambda: len(other.heard) == 1 and not events._lanes[0].waiting)  # it hangs in this one
    for number in range(8):
        events.note(str(number))
        until(lambda: str(number) in other.warnings)  # noqa: B023
    events.close()
    assert "the sink mine:Sink does not keep up: the run goes on, and events are dropped for it" in other.warnings
    assert other.warnings[-2:] == [
        "the sink mine:Sink did not end in time (5 events are lost to it): the run ends without it",
        f"the sink mine:Sink was too slow for {8 + 1 - 5} events, which were dropped for it",
    ]
    assert [text for text in other.warnings if text.isdecimal()] == list("01234567")


def test_nothing_is_heard_after_the_end() -> None:
    events, other = begun(Keeps())
    events.close()
    events.note("late")
    assert other.warnings == []


def test_a_stream_without_sinks() -> None:
    events = Stream({})
    events.begin(FACTS)
    events.note("x")
    events.close()
