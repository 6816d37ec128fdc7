import json

from msgspec.structs import asdict, replace

from marl.reports.events import Status, Warned
from marl.reports.run_folder import RunFolder
from marl.reports.sinks.metrics import Metrics
from marl.reports.sinks.sink import Facts


def test_metrics_come_back(status: Status, facts: Facts) -> None:
    folder, sink = RunFolder(facts.folder), Metrics()
    sink.begin(facts)
    assert folder.read_metrics() == []
    sink.on(status)
    sink.on(Warned(text="no status"))
    sink.on(replace(status, steps=200_000, return_mean=float("nan"), metrics={"my/own": float("inf")}))
    first, second = folder.read_metrics()
    known = {key: value for key, value in json.loads(json.dumps(asdict(status))).items() if key != "time"}
    assert known.pop("virtual_seconds") is None  # written only where they are counted
    assert known.pop("speedup") is None
    assert first == known
    assert list(first)[:3] == ["seconds", "steps", "episodes"]
    assert (second["steps"], second["return_mean"], second["metrics"]) == (200_000, None, {"my/own": None})


def test_what_only_some_runs_count(status: Status, facts: Facts) -> None:
    folder, sink = RunFolder(facts.folder), Metrics()
    sink.begin(facts)
    sink.on(replace(status, virtual_seconds=2.5, speedup=1.5))
    (only,) = folder.read_metrics()
    assert (only["virtual_seconds"], only["speedup"]) == (2.5, 1.5)


def test_a_torn_line_is_skipped(status: Status, facts: Facts) -> None:
    folder, sink = RunFolder(facts.folder), Metrics()
    sink.begin(facts)
    sink.on(status)
    with folder.metrics.open("ab") as file:
        file.write(b'{"seconds": 1.0, "ste')
    sink.on(replace(status, steps=5))
    assert [entry["steps"] for entry in folder.read_metrics()] == [status.steps, 5]


def test_lost_metrics_are_told_once(status: Status, facts: Facts, notes: list[str]) -> None:
    sink = Metrics()
    sink.begin(replace(facts, folder=facts.folder / "gone"))
    sink.on(status)
    sink.on(status)
    assert len(notes) == 1
    assert notes[0].startswith("metrics lost")
