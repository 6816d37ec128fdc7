import io

import pytest
from msgspec.structs import replace
from rich.console import Console

from marl.reports.events import Ended, Progress, Status, Warned
from marl.reports.sinks.live import LiveTable, _Picture, duration_text
from marl.reports.sinks.sink import Facts
from tests.reports.terminals import GoneTerminal, Terminal


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def test_the_table_has_the_speedup_where_one_is_known(status: Status, facts: Facts) -> None:
    stream = Terminal()
    table = LiveTable(stream, Clock())
    table.begin(facts)
    table.on(Progress(status=replace(status, speedup=1.42)))
    assert "45,678 (1.4 times one machine)" in stream.getvalue()


def test_the_table_is_drawn_four_times_a_second(status: Status, facts: Facts) -> None:
    stream, clock = Terminal(), Clock()
    table = LiveTable(stream, clock)
    table.begin(facts)
    table.on(Progress(status=status))
    size = len(stream.getvalue())
    for _ in range(10):
        clock.now += 0.02
        table.on(Progress(status=replace(status, steps=777_777)))
    assert len(stream.getvalue()) == size
    clock.now += 0.2
    table.on(Progress(status=replace(status, steps=888_888)))
    assert "888,888" in stream.getvalue()
    table.on(Warned(text="a [warning]"))
    table.on(Progress(status=replace(status, steps=999_999)))
    table.on(Ended(reason="steps"))
    table.on(Warned(text="after the end"))
    table.close()
    assert "777,777" not in stream.getvalue()
    assert "999,999" in stream.getvalue()
    assert "a [warning]" in stream.getvalue()
    assert stream.getvalue().endswith("after the end\n")


def test_the_terminal_is_given_back(status: Status, facts: Facts) -> None:
    stream = Terminal()
    table = LiveTable(stream)
    table.begin(facts)
    table.on(Progress(status=status))
    table.close()
    table.close()
    assert stream.getvalue().rstrip("\n").endswith("\x1b[?25h")  # the cursor is visible again


def test_a_terminal_that_went_away_is_no_error(status: Status, facts: Facts) -> None:
    table = LiveTable(GoneTerminal())
    table.begin(facts)
    table.on(Progress(status=status))
    table.on(Warned(text="x"))
    table.close()


@pytest.mark.parametrize("width", [1, 5, 10, 20, 40, 63, 71, 72, 80, 100, 250])
def test_no_line_is_wider_than_the_terminal(width: int, status: Status) -> None:
    unlikely = replace(
        status, progress=None, return_mean=None, seconds_left=None, worker_rates=(0.0,) * 64, metrics={}, restarts=2
    )
    for drawn in (status, replace(status, progress=1.0), unlikely, None):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        with console.capture() as capture:
            console.print(_Picture("CartPole-v1 · a3c · runs/x", drawn))
        assert max(map(len, capture.get().splitlines())) <= width


def test_the_table_names_what_it_shows(status: Status) -> None:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(_Picture("title", status))
    text = capture.get()
    for part in (
        "title",
        "43 %",
        "until solved (mean return >= 475)",
        "return, last 100",
        "312.4 ± 50.1",
        "policy loss",
        "1 min 15 s",
        "11,000  12,000",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (7620.0, "2 h 07 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_command_in_a_note_stays_in_one_piece(status: Status, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break of ours in it would be copied along."""
    monkeypatch.setenv("COLUMNS", "40")
    command = "marl train --resume runs/LunarLander-v3-20260101-120000 --steps 1000000"
    stream = Terminal()
    table = LiveTable(stream)
    table.begin(facts)
    table.on(Progress(status=status))
    table.on(Warned(text=f"the disk is full: free space there, then {command}"))
    table.close()
    assert command in stream.getvalue()
