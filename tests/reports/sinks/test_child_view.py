"""The line of a child: on a terminal it is drawn over and over, in a log it comes now and then."""

import io

import pytest
from msgspec.structs import replace

from marl.reports.events import ChildStatus, Ended, Warned
from marl.reports.numbers import bytes_text
from marl.reports.sinks import child_view
from marl.reports.sinks.child_view import PLAIN_EVERY, ChildView, status_line
from tests.reports.terminals import Ascii, GoneTerminal, Terminal

STATUS = ChildStatus(
    run="CartPole-v1-20261121-074911-5f3c",
    environment="CartPole-v1",
    version=7,
    steps_per_second=6357.4,
    return_mean=30.04,
    bytes_sent=938,
    bytes_received=1_234_567,
    alone=False,
)
WHOLE = (
    "CartPole-v1, run CartPole-v1-20261121-074911-5f3c  version 7  6,357 steps/s  return 30.0  "
    "sent 938 B, received 1.2 MB"
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """One of 60 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(child_view, "_columns", lambda: 60)
    return Terminal()


def test_the_line_in_each_state() -> None:
    before_any_episode = WHOLE.replace("return 30.0  ", "")
    assert status_line(STATUS) == WHOLE
    assert status_line(replace(STATUS, return_mean=None)) == before_any_episode
    assert status_line(replace(STATUS, alone=True)) == WHOLE + "  no parent, training on"


def test_bytes_as_a_person_would_say_them() -> None:
    said = [bytes_text(number) for number in (0, 999, 1000, 1.5e6, 2e9, 3e12)]
    assert said == ["0 B", "999 B", "1.0 kB", "1.5 MB", "2.0 GB", "3000.0 GB"]


def test_a_terminal_has_one_line_that_is_drawn_over(terminal: Terminal) -> None:
    view = ChildView(terminal)
    view.on(STATUS)
    view.on(replace(STATUS, version=8))
    assert terminal.getvalue() == WHOLE[:59] + "\r" + " " * 59 + "\r" + WHOLE.replace("version 7", "version 8")[:59]


def test_a_note_stays_and_the_line_goes_on_below_it(terminal: Terminal) -> None:
    view = ChildView(terminal)
    view.on(STATUS)
    view.on(Warned(text="the parent is gone"))
    view.on(STATUS)
    view.on(Ended(reason="the parent has ended the run"))
    view.close()
    erased = "\r" + " " * 59 + "\r"
    assert terminal.getvalue() == f"{WHOLE[:59]}{erased}the parent is gone\n{WHOLE[:59]}\n"


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(child_view.time, "monotonic", lambda: now)
    stream = io.StringIO()
    view = ChildView(stream)
    for now in (100.5, 100.0 + PLAIN_EVERY, 101.0 + PLAIN_EVERY, 100.0 + 2 * PLAIN_EVERY):  # noqa: B007
        view.on(STATUS)
    view.close()
    assert stream.getvalue().splitlines() == [WHOLE, WHOLE]


def test_who_wants_it_calm_gets_notes_only(terminal: Terminal) -> None:
    view = ChildView(terminal, calm=True)
    view.on(STATUS)
    view.on(Warned(text="", trace="Traceback ..."))
    view.on(Warned(text="child box listening on wss://10.0.0.7:5050 with 7 workers"))
    assert terminal.getvalue() == "child box listening on wss://10.0.0.7:5050 with 7 workers\n"


def test_who_debugs_gets_tracebacks(terminal: Terminal) -> None:
    ChildView(terminal, debug=True).on(Warned(text="", trace="Traceback ...\nValueError\n"))
    assert terminal.getvalue() == "Traceback ...\nValueError\n"


def test_what_comes_from_another_machine_cannot_command_the_terminal(terminal: Terminal) -> None:
    view = ChildView(terminal)
    view.on(Warned(text="a parent is turned away: \x1b[2J\rgone\x07"))
    view.on(replace(STATUS, run="\x1b[2J", environment="\rCart\nPole"))
    text = terminal.getvalue()
    assert text.startswith("a parent is turned away: ?[2J gone?\nCart Pole, run ?[2J version 7")


def test_letters_that_the_stream_lacks_are_replaced() -> None:
    stream = Ascii()
    ChildView(stream).on(Warned(text="the environment Schlängel-v0"))
    assert stream.getvalue() == "the environment Schl?ngel-v0\n"


def test_a_terminal_that_went_away_does_not_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    view = ChildView(GoneTerminal())
    view.on(STATUS)
    view.on(Warned(text="x"))
    view.close()
