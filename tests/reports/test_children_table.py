"""The rows of a live table, as a terminal of each width shows them."""

import io

import pytest
from rich.console import Console

from marl.reports.children_table import COLUMNS, children_table, summary
from marl.reports.events import ChildRow, Status
from marl.reports.sinks.live import _Picture

FAST = ChildRow(
    address="10.0.0.7:5050",
    state="training",
    workers=7,
    cores=8,
    steps_per_second=6357.4,
    return_mean=30.04,
    version=9,
    answer_age=0.62,
    bytes_per_second=938.0,
    round_trip=0.0013,
)
SLOW = ChildRow(
    address="gpu-box-3.example.org:6000",
    state="training",
    workers=1,
    cores=8,
    steps_per_second=61.0,
    return_mean=-123.4,
    version=4,
    answer_age=21.4,
    bytes_per_second=1.2e6,
    round_trip=0.212,
)
DEAD = ChildRow("[fd00::2]:6000", "no answer")
LATE = ChildRow("late.lan:5050", "connecting")
ROWS = [FAST, SLOW, DEAD, LATE]


def lines(rows: list[ChildRow], width: int) -> list[list[str]]:
    """What a terminal shows, cell by cell."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(children_table(rows, width))
    shown = capture.get().splitlines()
    assert max(map(len, shown)) <= width
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in shown]


def test_a_wide_terminal_shows_everything_of_a_slow_a_dead_and_a_late_child() -> None:
    head, fast, slow, dead, late = lines(ROWS, 140)
    assert head == list(COLUMNS)
    assert fast == ["10.0.0.7:5050", "training", "7 of 8", "6,357", "30.0", "9", "0.6 s", "938 B/s", "1.3 ms"]
    assert slow[:5] == ["gpu-box-3.example.org:6000", "training", "1 of 8", "61", "-123.4"]
    assert slow[5:] == ["4", "21.4 s", "1.2 MB/s", "212.0 ms"]
    assert dead == ["[fd00::2]:6000", "no answer", *"-------"]
    assert late == ["late.lan:5050", "connecting", *"-------"]


def test_a_hundred_columns_lack_only_what_is_least_important() -> None:
    assert lines([FAST, LATE], 100)[0] == list(COLUMNS)
    whole = lines(ROWS, 140)
    assert lines(ROWS, 100) == [line[:-1] for line in whole]


def test_forty_columns_show_who_is_there_in_full() -> None:
    assert lines(ROWS, 40) == [line[:2] for line in lines(ROWS, 140)]
    assert lines([FAST], 40) == [["child", "state", "cores"], ["10.0.0.7:5050", "training", "7 of 8"]]


def test_where_an_address_has_no_room_its_ends_tell_it_from_others() -> None:
    shown = [line[0] for line in lines(ROWS, 24)]
    assert shown == ["child", "10.0.…7:5050", "gpu-b…g:6000", "[fd00…]:6000", "late.…n:5050"]


@pytest.mark.parametrize("width", [1, 2, 5, 10, 20, 39, 63, 80, 250])
def test_no_line_is_wider_than_the_terminal(width: int, status: Status) -> None:
    lines(ROWS, width)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(_Picture("CartPole-v1", status, ROWS))
    assert max(map(len, capture.get().splitlines())) <= width


def test_columns_do_not_move_with_the_numbers() -> None:
    later = FAST._replace(steps_per_second=99.0, return_mean=9.5, version=10, answer_age=10.0, bytes_per_second=9.9e5)
    for width in (40, 80, 100):
        starts = []
        for row in (FAST, later):
            console = Console(width=width, file=io.StringIO(), color_system=None)
            with console.capture() as capture:
                console.print(children_table([row], width))
            starts.append(capture.get().splitlines()[0])
        assert starts[0] == starts[1]


def test_who_does_not_train_stands_out() -> None:
    console = Console(width=100, file=io.StringIO(), color_system="standard", force_terminal=True)
    with console.capture() as capture:
        console.print(children_table(ROWS, 100))
    assert ["\x1b[33m" in line for line in capture.get().splitlines()] == [False, False, False, True, True]


def test_a_log_counts_the_children_that_train_and_names_the_newest_version() -> None:
    assert summary(ROWS) == "children 2/4  version 9"
    assert summary([DEAD, LATE]) == "children 0/2"
