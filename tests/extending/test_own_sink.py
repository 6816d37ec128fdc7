"""A sink from outside the package: it hears a real run, and no run ends or waits because of it."""

import contextlib
import csv
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marl.api import TrainResult, train
from marl.reports import stream
from marl.reports.events import Event
from marl.reports.sinks.sink import Facts

STEPS = 3000


class Fails:
    """Cannot write anything."""

    def begin(self, facts: Facts) -> None:
        """Nothing to prepare."""

    def on(self, event: Event) -> None:
        """As a service that is down."""
        raise ConnectionError("no such host")

    def close(self) -> None:
        """As well."""
        raise ConnectionError("still no such host")


class Hangs:
    """Waits for what never comes."""

    over = threading.Event()

    def begin(self, facts: Facts) -> None:
        """Nothing to prepare."""

    def on(self, event: Event) -> None:
        """As a disk that is away."""
        self.over.wait()

    def close(self) -> None:
        """It never comes to that."""


@pytest.fixture
def ends() -> Iterator[None]:
    """What hangs ends with the test."""
    Hangs.over.clear()
    yield
    Hangs.over.set()
    for thread in threading.enumerate():
        if thread.name.startswith("sink "):
            thread.join(10.0)


def run(folder: Path, *sinks: str, **options: Any) -> TrainResult:
    settings = {
        "seed": 1, "stop.steps": STEPS, "node.workers": 1,
        "report.runs": str(folder / "runs"), "report.pictures": False,
        "report.every_seconds": 0.1, "evaluation.every_seconds": 0.1, "evaluation.final_episodes": 1,
        "report.sinks": ["events", "metrics", *sinks],
    }  # fmt: skip
    return train("CartPole-v1", settings=settings, out=folder / "weights.pt", **{"live": False, **options})


def events_of(result: TrainResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.run / "events.jsonl").read_text().splitlines()]


def test_the_example_writes_its_table(tmp_path: Path) -> None:
    result = run(tmp_path, "examples.own_sink:Table")
    rows = list(csv.reader((result.run / "table.csv").open()))
    told = [event for event in events_of(result) if event["event"] == "evaluation"]
    assert [(int(steps), float(mean)) for steps, mean, _ in rows] == [(each["steps"], each["mean"]) for each in told]
    assert len(rows) >= 2


def test_sinks_that_fail_or_hang_cost_nothing_but_their_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: None
) -> None:
    monkeypatch.setattr(stream, "MOST_WAITING", 5)
    result = run(tmp_path, f"{__name__}:Fails", f"{__name__}:Hangs")
    ended = time.time()
    assert (result.reason, result.failure) == ("steps", None)
    assert result.steps >= STEPS
    assert (tmp_path / "weights.pt").is_file()
    happened = events_of(result)
    assert happened[0]["event"] == "began"
    assert {"status", "episodes", "evaluation", "checkpoint", "ended"} <= {each["event"] for each in happened}
    told = [each["text"] for each in happened if each["event"] == "warning"]
    assert [text.partition("Sink")[0] for text in told if "Fails" in text] == [
        f"the sink {__name__}:Fails failed (ConnectionError: no such host): the run goes on",
        f"the sink {__name__}:Fails failed 3 times in a row: it is switched off",
        f"the sink {__name__}:Fails cannot end (ConnectionError: still no such host): the run goes on",
    ]
    hanging = [text for text in told if "Hangs" in text]
    assert hanging[0] == f"the sink {__name__}:Hangs does not keep up: the run goes on, and events are dropped for it"
    assert "did not end in time (5 events are lost to it)" in hanging[1]
    assert "events, which were dropped for it" in hanging[2]
    last = next(each["time"] for each in happened if each["event"] == "ended")
    assert ended - last < stream.CLOSE_S + 2.0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that can be filled")
def test_a_terminal_that_takes_nothing_holds_up_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that Ctrl-S has stopped."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    try:
        with monkeypatch.context() as patch, open(writer, "w") as full:
            patch.setattr(sys, "stdout", full)
            result = run(tmp_path, "terminal", live=True, plain=True)
    finally:
        os.close(reader)
    assert result.reason == "steps"
    (said,) = [each["text"] for each in events_of(result) if each["event"] == "warning" and "did not" in each["text"]]
    assert said.startswith("the sink terminal did not end in time")
