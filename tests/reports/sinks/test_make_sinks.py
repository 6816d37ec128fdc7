import logging
import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from marl.errors import ConfigError, PluginError
from marl.reports import stream
from marl.reports.events import Warned
from marl.reports.sinks import own_sink
from marl.reports.sinks.make_sinks import SINKS, demand_names, make_sinks
from marl.reports.sinks.sink import Facts
from marl.reports.stream import Stream
from tests.commands import until


class Own:
    def begin(self, facts: object) -> None: ...

    def on(self, event: object) -> None: ...

    def close(self) -> None: ...


class Half:
    def begin(self, facts: object) -> None: ...


class Leaves(Own):
    def __init__(self) -> None:
        sys.exit(0)


class Words(Own):
    patience_s = "20 s"


class Nothing(Own):
    patience_s = None


class Endless(Own):
    patience_s = math.inf


class Long(Own):
    patience_s = 31


class NoNumber(Own):
    patience_s = math.nan


class Odd(Own):
    @property
    def patience_s(self) -> float:
        raise RuntimeError("not yet")


class Late(Own):
    """Its constructor waits until the test lets it end."""

    begins = threading.Event()
    goes_on = threading.Event()
    heard: ClassVar[list[object]] = []
    fails = False

    def __init__(self) -> None:
        self.begins.set()
        assert self.goes_on.wait(WAIT_S)
        if self.fails:
            raise ConnectionError("no such host")

    def on(self, event: object) -> None:
        self.heard.append(event)


class Greedy:
    def __init__(self, token: str) -> None: ...


OWN = f"{__name__}:Own"
WAIT_S = 20.0


def test_those_that_tell_the_user_end_last() -> None:
    demand_names(["events", OWN, "terminal", "metrics", "tensorboard"])
    made = make_sinks(["events", OWN, "terminal", "metrics", "tensorboard"])
    assert list(made) == [OWN, "tensorboard", "metrics", "terminal", "events"]
    assert isinstance(made[OWN], Own)


def test_each_has_three_methods() -> None:
    for sink in make_sinks(list(SINKS)).values():
        assert all(callable(getattr(sink, method)) for method in ("begin", "on", "close"))


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            ["event"],
            "expected some of tensorboard, metrics, ray, terminal, events, or your own package.module:Class",
        ),
        (["events", "events"], "expected each once, got 'events' twice"),
    ],
)
def test_a_name_that_cannot_be(names: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        demand_names(names)
    assert str(error.value).startswith(f"report.sinks: {complaint}")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Half", "lacks on: see marl.reports.sinks.sink.Sink"),
        ("Greedy", "cannot be made without arguments: TypeError"),
        ("Missing", "has no 'Missing'"),
        ("Leaves", "cannot be made without arguments: SystemExit: 0"),
        ("Words", "expected patience_s of .*:Words to be 0 to 30 seconds, got '20 s'"),
        ("Nothing", "to be 0 to 30 seconds, got None"),
        ("Endless", "to be 0 to 30 seconds, got inf"),
        ("Long", "to be 0 to 30 seconds, got 31"),
        ("NoNumber", "to be 0 to 30 seconds, got nan"),
        ("Odd", "RuntimeError: not yet"),
    ],
)
def test_what_is_no_sink_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(PluginError, match=complaint):
        make_sinks([f"{__name__}:{name}"])


class Keeps(Own):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def on(self, event: object) -> None:
        if isinstance(event, Warned):
            self.warnings.append(event.text)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a sink that is not ready in time."""
    monkeypatch.setattr(own_sink, "READY_S", 0.05)
    monkeypatch.setattr(stream, "BEGIN_S", 0.05)
    monkeypatch.setattr(Late, "heard", [])
    Late.begins.clear()
    Late.goes_on.clear()
    yield f"{__name__}:Late"
    Late.goes_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith(("sink ", "make sink ")):
            thread.join(WAIT_S)


def begun(name: str) -> tuple[Stream, Keeps]:
    """The stream to a late sink and to one that hears what becomes of it."""
    other, output = Keeps(), sys.stdout
    events = Stream({**make_sinks([name]), "events": other})
    assert sys.stdout is output
    assert Late.begins.is_set()
    events.begin(Facts())
    until(lambda: other.warnings)
    assert other.warnings == [f"the sink {name} has not begun within 0.05 s: the run does not wait for it"]
    return events, other


def test_a_sink_that_is_late_holds_no_run_up_and_hears_what_has_happened_meanwhile(late: str) -> None:
    events, _ = begun(late)
    events.note("meanwhile")
    Late.goes_on.set()
    until(lambda: any(isinstance(event, Warned) and event.text == "meanwhile" for event in Late.heard))
    events.close()


def test_a_sink_that_is_never_ready_is_left_behind(late: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CLOSE_S", 0.05)
    events, other = begun(late)
    events.close()
    assert "did not end in time" in other.warnings[-1]
    assert Late.heard == []


def test_a_sink_that_is_late_and_fails_is_told_of(late: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Late, "fails", True)
    events, other = begun(late)
    Late.goes_on.set()
    until(lambda: len(other.warnings) > 1)
    assert "cannot begin (PluginError: report.sinks: " in other.warnings[-1]
    assert "ConnectionError: no such host" in other.warnings[-1]
    events.close()


class Opens(logging.Handler):
    """Lets an import go on once something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.lines = threading.Event(), list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.gate.set()


def test_an_import_that_takes_long_says_what_the_start_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = Opens()
    monkeypatch.setattr(own_sink, "IMPORT_S", 0.05)
    monkeypatch.setattr(own_sink.logger, "handlers", [opens])
    monkeypatch.setitem(sys.modules, "gate_of_a_sink", opens)  # type: ignore[arg-type]
    monkeypatch.setattr(own_sink.logger, "propagate", False)
    lines = ("import gate_of_a_sink", f"assert gate_of_a_sink.gate.wait({WAIT_S})", f"from {__name__} import Own")
    (tmp_path / "waiting_sink.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    assert list(make_sinks(["waiting_sink:Own"])) == ["waiting_sink:Own"]
    assert opens.lines == [
        "report.sinks: the start waits for the import of waiting_sink, 0.05 s so far; Ctrl-C ends it"
    ]
