import io

import pytest
from msgspec.structs import replace

from marl.reports.events import Ended, Progress, Status, Warned
from marl.reports.sinks.plain import PlainLines, plain_line
from marl.reports.sinks.sink import Facts
from tests.reports.terminals import Ascii, GoneTerminal


def test_a_plain_line(status: Status) -> None:
    expected = "12.3 s  123,456 steps  45,678 steps/s  return 312.4 ± 50.1  length 312  43 %"
    assert plain_line(status) == expected
    empty = replace(status, return_mean=None, return_std=None, length_mean=None, progress=None, restarts=3)
    assert plain_line(empty) == "12.3 s  123,456 steps  45,678 steps/s  3 restarts"
    assert "  speed-up 1.4  " in plain_line(replace(status, speedup=1.42))


def test_plain_lines_come_every_two_seconds_and_at_the_end(status: Status, facts: Facts) -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    lines.begin(facts)
    for seconds in (0.0, 0.5, 1.9, 2.0, 3.0, 4.5, 5.0):
        lines.on(Progress(status=replace(status, seconds=seconds)))
    lines.on(Warned(text="worker 3 was started again"))
    lines.on(status)  # is for files
    lines.on(Ended(reason="steps"))
    lines.on(Warned(text="after the end"))
    lines.close()
    title, *rest = stream.getvalue().splitlines()
    assert title == f"CartPole-v1 · a3c · {facts.folder}"
    starts = [line.split("  ")[0] for line in rest]
    assert starts == ["0.0 s", "2.0 s", "4.5 s", "worker 3 was started again", "5.0 s", "after the end"]


def test_the_last_status_is_not_shown_twice(status: Status, facts: Facts) -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    lines.begin(facts)
    lines.on(Progress(status=status))
    lines.close()
    assert len(stream.getvalue().splitlines()) == 2


def test_letters_that_the_stream_lacks_are_replaced(status: Status, facts: Facts) -> None:
    stream = Ascii()
    lines = PlainLines(stream)
    lines.begin(facts)
    lines.on(Progress(status=status))
    assert stream.getvalue().isascii()
    assert "312.4 +- 50.1" in stream.getvalue()


def test_a_reader_that_went_away_is_no_error(status: Status, facts: Facts) -> None:
    lines = PlainLines(GoneTerminal())
    lines.begin(facts)
    lines.on(Progress(status=status))
    lines.on(Warned(text="x"))
    lines.close()


@pytest.mark.parametrize(
    ("mean", "text"), [(0.9512, "0.951 ± 0.312"), (-0.0, "0.000 ± 0.312"), (-0.0004, "0.000 ± 0.312")]
)
def test_small_returns_are_told_apart(mean: float, text: str, status: Status) -> None:
    assert f"return {text}  " in plain_line(replace(status, return_mean=mean, return_std=0.3119))
