"""The events of a run on their way to its sinks, each of which hears them in a thread of its own.

events = Stream({"metrics": Metrics(), "mine": Mine()})
events.begin(facts)
events.on(status)
events.note("worker 3 was started again")
events.close()

No sink can hold up or end a run. What it raises is told once, and it is switched off when it keeps failing. For one
that is slow or hangs the oldest events are dropped, which is told too. The end of the run waits a bounded time for all.
"""

import functools
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from marl.reports.events import UNKNOWN, Event, Warned
from marl.reports.sinks.sink import Facts, Sink, patience_of

MOST_WAITING = 500  # events that wait for one sink
MOST_ERRORS = 3  # one after another, before a sink is switched off
MOST_TEXT = 10_000  # letters of a warning
BEGIN_S = 2.0  # for all sinks to begin
CLOSE_S, GRACE_S = 1.5, 0.2  # for all sinks to end; for each at least
MOST_CLOSE_S = 60.0  # for all sinks to end, whatever their patience; beside that, GRACE_S for each


class Stream:
    """Takes events from any thread."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        """``sinks`` by their names; they end in this order, and the later ones hear what became of the earlier.

        Raises:
            PluginError: see ``patience_of``.
        """
        self._lanes = [_Lane(name, sink, self.note) for name, sink in sinks.items()]
        self._clock: Callable[[], tuple[float, int]] = lambda: (0.0, 0)
        self._closed = False

    def begin(self, facts: Facts) -> None:
        """Let all sinks begin, side by side."""
        facts = msgspec.structs.replace(facts, note=self.note)
        self.follow(lambda: (facts.seconds, facts.steps))
        deadline = time.monotonic() + BEGIN_S
        for lane in self._lanes:
            lane.start(facts)
        for lane in self._lanes:
            if not lane.begun.wait(max(0.0, deadline - time.monotonic())):
                self.note(f"the sink {lane.name} has not begun within {BEGIN_S:g} s: the run does not wait for it")

    def follow(self, clock: Callable[[], tuple[float, int]]) -> None:
        """Events that do not say when they happened get the seconds and steps that ``clock`` tells."""
        self._clock = clock

    def on(self, event: Event) -> None:
        """Something has happened; never waits."""
        if event.seconds == UNKNOWN or event.steps == UNKNOWN:
            seconds, steps = self._clock()
            event = msgspec.structs.replace(
                event,
                seconds=seconds if event.seconds == UNKNOWN else event.seconds,
                steps=steps if event.steps == UNKNOWN else event.steps,
            )
        if event.time == UNKNOWN:
            event = msgspec.structs.replace(event, time=time.time())
        for lane in self._lanes:
            if lane.put(event):
                self.note(f"the sink {lane.name} does not keep up: the run goes on, and events are dropped for it")

    def note(self, text: str, trace: str = "") -> None:
        """Tell the user a line; ``trace`` says where code failed."""
        self.on(Warned(text=text[:MOST_TEXT], trace=trace[-MOST_TEXT:]))

    def close(self) -> None:
        """Let the sinks hear the rest and end. May be called twice."""
        if self._closed:
            return
        self._closed = True
        began = time.monotonic()
        for lane in self._lanes:
            spent = time.monotonic() - began
            seconds = min(max(lane.patience, CLOSE_S - spent), MOST_CLOSE_S - spent)
            if not lane.end(max(GRACE_S, seconds)):
                lost = f" ({lane.waiting:,} events are lost to it)" if lane.waiting else ""
                self.note(f"the sink {lane.name} did not end in time{lost}: the run ends without it")
            if lane.dropped:
                self.note(f"the sink {lane.name} was too slow for {lane.dropped:,} events, which were dropped for it")


class _Lane:
    """One sink, its thread, and what waits for it."""

    def __init__(self, name: str, sink: Sink, warn: Callable[[str, str], None]) -> None:
        self.name = name
        self.begun = threading.Event()  # or failed to
        self.dropped = 0  # events, because too many waited
        self.patience = patience_of(name, sink)
        self._sink, self._warn = sink, warn
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()  # guards _events, _over and dropped
        self._over = False  # no more events are taken
        self._errors = 0  # one after another
        self._told = False  # of the first error

    @property
    def waiting(self) -> int:
        """Events that the sink has not heard yet."""
        return len(self._events)

    def start(self, facts: Facts) -> None:
        """Begin to hear."""
        # A daemon: the process must be able to end although the sink hangs.
        self._thread = threading.Thread(target=self._run, args=(facts,), name=f"sink {self.name}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> bool:
        """Whether an event had to be dropped, and none before."""
        with self._changed:
            if self._over:
                return False
            self._events.append(event)
            self._changed.notify()
            if len(self._events) <= MOST_WAITING:
                return False
            self._events.popleft()
            self.dropped += 1
            return self.dropped == 1

    def end(self, seconds: float) -> bool:
        """Take nothing more; whether the sink has heard the rest and ended within ``seconds``."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self, facts: Facts) -> None:
        begun = self._succeeds(lambda: self._sink.begin(facts), "cannot begin")
        self.begun.set()
        while begun and self._errors < MOST_ERRORS and (event := self._next()) is not None:
            self._succeeds(functools.partial(self._sink.on, event), "failed")
        with self._changed:
            self._over = True
            self._events.clear()
        if self._errors >= MOST_ERRORS:
            self._warn(f"the sink {self.name} failed {MOST_ERRORS} times in a row: it is switched off", "")
        if begun:
            self._succeeds(self._sink.close, "cannot end")

    def _next(self) -> Event | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._events) or self._over)
            return self._events.popleft() if self._events else None

    def _succeeds(self, action: Callable[[], None], verb: str) -> bool:
        """Whether the sink's own code did not raise; where it did, the first time is told."""
        try:
            action()
        except BaseException as error:  # SystemExit too: the end of the run is not a sink's to decide
            self._errors += 1
            if not self._told or verb != "failed":
                self._told = True
                reason = f"{type(error).__name__}{': ' * bool(str(error))}{error}"
                self._warn(f"the sink {self.name} {verb} ({reason}): the run goes on", traceback.format_exc())
            return False
        self._errors = 0
        return True
