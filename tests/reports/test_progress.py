import io
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from marl.reports.events import Status
from marl.reports.progress import LiveView, _Picture, duration_text, plain_line
from tests.reports.terminals import Ascii, GoneTerminal, Terminal


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def view(stream: Any, **options: Any) -> LiveView:
    names: dict[str, Any] = {"environment": "CartPole-v1", "algorithm": "a3c", "run_folder": "runs/x"}
    return LiveView(**names, stream=stream, **options)


def test_a_plain_line(status: Status) -> None:
    expected = "12.3 s  123,456 steps  45,678 steps/s  return 312.4 ± 50.1  length 312  43 %"
    assert plain_line(status) == expected
    empty = replace(status, return_mean=None, return_std=None, length_mean=None, progress=None, restarts=3)
    assert plain_line(empty) == "12.3 s  123,456 steps  45,678 steps/s  3 restarts"


def test_plain_lines_come_every_so_often_and_at_the_end(status: Status) -> None:
    stream = io.StringIO()
    with view(stream, plain_every=2.0, stop_text="until 9 steps") as shown:
        for seconds in (0.0, 0.5, 1.9, 2.0, 3.0, 4.5, 5.0):
            shown.show(replace(status, seconds=seconds))
        shown.note("worker 3 was started again")
    shown.close()
    title, *lines = stream.getvalue().splitlines()
    assert title == "CartPole-v1 · a3c · runs/x · until 9 steps"
    starts = [line.split("  ")[0] for line in lines]
    assert starts == ["0.0 s", "2.0 s", "4.5 s", "worker 3 was started again", "5.0 s"]


def test_the_last_status_is_not_shown_twice(status: Status) -> None:
    stream = io.StringIO()
    with view(stream) as shown:
        shown.show(status)
    assert len(stream.getvalue().splitlines()) == 2


def test_quiet_writes_nothing(status: Status) -> None:
    for stream in (io.StringIO(), Terminal()):
        with view(stream, quiet=True) as shown:
            shown.show(status)
            shown.note("x")
        assert stream.getvalue() == ""


def test_plain_on_a_terminal_has_no_control_codes(status: Status) -> None:
    stream = Terminal()
    with view(stream, plain=True) as shown:
        shown.show(status)
    assert "\x1b" not in stream.getvalue()


def test_letters_that_the_stream_lacks_are_replaced(status: Status) -> None:
    stream = Ascii()
    with view(stream) as shown:
        shown.show(status)
    assert stream.getvalue().isascii()
    assert "312.4 +- 50.1" in stream.getvalue()


def test_a_terminal_shows_the_table_four_times_a_second(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream, clock = Terminal(), Clock()
    with view(stream, clock=clock) as shown:
        shown.show(status)
        size = len(stream.getvalue())
        for _ in range(10):
            clock.now += 0.02
            shown.show(replace(status, steps=777_777))
        assert len(stream.getvalue()) == size
        clock.now += 0.2
        shown.show(replace(status, steps=888_888))
        assert "888,888" in stream.getvalue()
        shown.note("a [warning]")
        shown.show(replace(status, steps=999_999))
    shown.close()
    shown.note("after the end")
    assert "777,777" not in stream.getvalue()
    assert "999,999" in stream.getvalue()
    assert "a [warning]" in stream.getvalue()
    assert stream.getvalue().endswith("after the end\n")


def test_an_error_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()

    def fail() -> None:
        with view(stream) as shown:
            shown.show(status)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stream.getvalue().rstrip("\n").endswith("\x1b[?25h")  # the cursor is visible again


@pytest.mark.parametrize("plain", [True, False])
def test_a_terminal_that_went_away_does_not_end_the_training(
    plain: bool, monkeypatch: pytest.MonkeyPatch, status: Status
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with view(GoneTerminal(), plain=plain) as shown:
        shown.show(status)
        shown.note("x")


@pytest.mark.parametrize("width", [1, 5, 10, 20, 40, 63, 71, 72, 80, 100, 250])
def test_no_line_is_wider_than_the_terminal(width: int, status: Status) -> None:
    unlikely = replace(
        status, progress=None, return_mean=None, seconds_left=None, worker_rates=(0.0,) * 64, metrics={}, restarts=2
    )
    for drawn in (status, replace(status, progress=1.0), unlikely, None):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        with console.capture() as capture:
            console.print(_Picture("CartPole-v1 · a3c · runs/x", drawn, "until stopped by hand"))
        assert max(map(len, capture.get().splitlines())) <= width


def test_the_table_names_what_it_shows(status: Status) -> None:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(_Picture("title", status, ""))
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


def test_a_command_in_a_note_stays_in_one_piece(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    """A line break of ours in it would be copied along."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    command = "marl train --resume runs/LunarLander-v3-20260101-120000 --steps 1000000"
    stream = Terminal()
    with view(stream) as shown:
        shown.show(status)
        shown.note(f"the disk is full: free space there, then {command}")
    assert command in stream.getvalue()


@pytest.mark.parametrize(
    ("mean", "text"), [(0.9512, "0.951 ± 0.312"), (-0.0, "0.000 ± 0.312"), (-0.0004, "0.000 ± 0.312")]
)
def test_small_returns_are_told_apart(mean: float, text: str, status: Status) -> None:
    assert f"return {text}  " in plain_line(replace(status, return_mean=mean, return_std=0.3119))
