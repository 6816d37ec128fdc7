"""What a run says of its numbers: speeds of each reader's own interval, the last frame, a whole curve."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from marl.cluster.planning.model import Reference
from marl.cluster.runs.status import StatusReporter
from marl.cluster.trainers.trainer import Counts, Episodes
from marl.data.node.metrics import SKIPPED_UPDATES
from marl.reports.events import ChildRow, Event, Progress, Status, Warned
from marl.reports.meter import Meter
from marl.reports.run_folder import RunFolder

RATE = 1000  # environment steps a second


class Playing:
    """A trainer whose steps follow the test's clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.children: list[ChildRow] | None = None
        self.metrics: dict[str, float] = {}
        self.first_outside = ""
        self.ended: Episodes = np.zeros(0), np.zeros(0, np.int64)
        self.virtual_s: float | None = None

    def counts(self) -> Counts:
        steps = np.array([int(RATE * self.now)])
        return Counts(steps, steps // 10, self.metrics, 0, self.first_outside)

    def episodes(self) -> Episodes:
        return self.ended

    def rows(self) -> list[ChildRow] | None:
        return self.children

    def virtual_seconds(self) -> float | None:
        return self.virtual_s


class Told:
    """A reporter, its trainer, and what it has told."""

    def __init__(self) -> None:
        self.trainer, self.meter = Playing(), Meter()
        self.events: list[Event] = []
        events: Any = SimpleNamespace(on=self.events.append, note=lambda text: self.events.append(Warned(text=text)))
        self.reporter = StatusReporter(self.trainer, self.meter, events, lambda: self.trainer.now)  # type: ignore[arg-type]

    def shown(self) -> list[float]:
        return [event.status.steps_per_second for event in self.events if isinstance(event, Progress)]

    def recorded(self) -> list[float]:
        return [event.steps_per_second for event in self.events if isinstance(event, Status)]


def test_showing_and_saving_change_no_recorded_speed() -> None:
    told = Told()
    for tick in range(1, 21):
        told.trainer.now = 0.1 * tick
        told.reporter.show()
        told.reporter.status()
        if tick % 10 == 0:
            told.reporter.record()
            told.reporter.show()  # a moment later, as at the end of a run
    np.testing.assert_allclose(told.recorded(), [RATE, RATE])
    np.testing.assert_allclose(told.shown(), RATE, rtol=1e-6)


def test_the_last_frame_and_the_last_line_have_the_last_real_speed() -> None:
    told = Told()
    told.trainer.now = 0.5
    told.reporter.show()
    told.reporter.end()
    told.reporter.show()
    told.reporter.record()
    assert told.shown() == [RATE, RATE]
    assert told.recorded() == [RATE]


def test_a_run_of_half_a_second_leaves_a_curve(tmp_path: Path) -> None:
    """Before the first line of metrics, in 25 ticks."""
    told = Told()
    for tick in range(1, 26):
        told.trainer.now = 0.02 * tick
        told.trainer.ended = np.full(10, float(tick)), np.full(10, 2)
        told.reporter.collect_episodes()
    folder = RunFolder(tmp_path)
    folder.curve.write_bytes(told.meter.curve.lines())
    curve = folder.read_curve()
    assert len(curve) == 250
    assert (curve[-1]["steps"], curve[-1]["seconds"]) == (500, 0.5)
    assert curve[-1]["return_mean"] == np.repeat(np.arange(16.0, 26.0), 10).mean()


@pytest.mark.parametrize("ended", [False, True])
def test_childrens_last_rows_are_shown_when_they_are_gone(ended: bool) -> None:
    """When a run has ended the children are gone, and what they did last is still worth a look."""
    told = Told()
    told.trainer.children = [
        ChildRow("127.0.0.1:1", "training", steps_per_second=700.0),
        ChildRow("127.0.0.1:2", "asking"),
    ]
    told.reporter.show()
    told.trainer.children = [ChildRow("127.0.0.1:1", "left"), ChildRow("127.0.0.1:2", "left")]
    if ended:
        told.reporter.end()
    told.reporter.show()
    states = [[row.state for row in event.children] for event in told.events if isinstance(event, Progress)]
    before, after = ["training", "asking"], ["left", "left"]
    assert (told.shown(), states) == (([700.0, 700.0], [before, before]) if ended else ([700.0, 0.0], [before, after]))


def test_children_that_report_late_have_their_own_speeds_in_the_view_only() -> None:
    told = Told()
    told.trainer.now = 1.0
    told.trainer.children = [ChildRow("127.0.0.1:1", "training", steps_per_second=700.0)]
    told.reporter.show()
    told.reporter.record()
    assert (told.shown(), told.recorded()) == ([700.0], [RATE])


def test_skipped_updates_are_told_once() -> None:
    told = Told()
    told.reporter.status()
    assert told.events == []
    told.trainer.metrics = {SKIPPED_UPDATES: 2.0}
    told.reporter.status()
    told.reporter.record()
    texts = [event.text for event in told.events if isinstance(event, Warned)]
    assert texts == ["a gradient was not finite: its update is skipped, and counted in skipped_updates"]


def test_the_first_observation_outside_its_space_is_told_once() -> None:
    told = Told()
    told.reporter.status()
    for words in ("mine: observation is 2", "mine: observation is 3"):
        told.trainer.first_outside = words
        told.reporter.status()
        told.reporter.record()
    assert [event.text for event in told.events if isinstance(event, Warned)] == ["mine: observation is 2"]


def test_a_speedup_is_told_where_there_is_something_to_compare_with() -> None:
    told = Told()
    reporter = StatusReporter(
        told.trainer,  # type: ignore[arg-type]
        told.meter,
        SimpleNamespace(on=told.events.append),  # type: ignore[arg-type]
        lambda: told.trainer.now,
        Reference(steps_per_second=RATE / 4, kept=0.5),
    )
    told.trainer.now = 1.0
    told.reporter.record()
    reporter.record()
    told.trainer.virtual_s = 0.25  # children take turns: on machines of their own it would have been four times as fast
    reporter.record()
    speedups = [event.speedup for event in told.events if isinstance(event, Status)]
    assert speedups == [None, pytest.approx(2.0), pytest.approx(8.0)]
