import json
from typing import Any

import numpy as np
from msgspec.structs import replace

from marl.reports import events
from marl.reports.events import Episodes, Event, Progress, Status, Warned
from marl.reports.run_folder import RunFolder
from marl.reports.sinks.events import EventLines
from marl.reports.sinks.sink import Facts


def lines(facts: Facts, *happened: Event) -> list[dict[str, Any]]:
    sink = EventLines()
    sink.begin(facts)
    for event in happened:
        sink.on(event)
    sink.close()
    file = RunFolder(facts.folder).events
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_each_event_is_a_line_that_says_what_it_is_and_when(status: Status, facts: Facts) -> None:
    first, second = lines(facts, status, Warned(text="two\nlines", seconds=1.5, steps=3, time=9.0))
    assert (first["event"], first["steps"], first["metrics"]) == ("status", status.steps, status.metrics)
    assert second == {
        "event": "warning", "seconds": 1.5, "steps": 3, "time": 9.0, "text": "two\nlines", "trace": ""
    }  # fmt: skip


def test_every_type_has_a_name_of_its_own() -> None:
    types = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Event)]
    names = {each.__struct_config__.tag for each in types if each is not Event}
    assert names == {
        "began", "status", "progress", "episodes", "evaluation", "checkpoint", "child_joined", "child_left",
        "child_status", "warning", "ended",
    }  # fmt: skip


def test_what_is_only_looked_at_is_not_kept(status: Status, facts: Facts) -> None:
    assert lines(facts, Progress(status=status)) == []


def test_of_many_episodes_a_line_says_how_they_are_spread(facts: Facts) -> None:
    (line,) = lines(facts, Episodes(returns=np.arange(100_000.0), lengths=np.ones(100_000, np.int64), steps=1))
    assert line["returns"]["count"] == 100_000
    assert (line["returns"]["min"], line["returns"]["max"], line["lengths"]["mean"]) == (0.0, 99_999.0, 1.0)


def test_numbers_that_are_none_are_null_and_a_line_that_nobody_could_read_is_left_out(
    status: Status, facts: Facts
) -> None:
    endless = replace(status, metrics={f"metric {number}": 0.123456789 for number in range(5000)})
    (line,) = lines(facts, replace(status, return_mean=float("nan")), endless)
    assert line["return_mean"] is None
