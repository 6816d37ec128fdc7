"""What a person sees depends on what standard output is, and on what was asked for."""

import os
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from marl.reports.events import Progress, Status, Warned
from marl.reports.sinks.sink import Facts
from marl.reports.sinks.standard_output import standard_output
from marl.reports.sinks.terminal import Terminal as TerminalSink
from marl.reports.sinks.terminal import say
from tests.reports.terminals import Terminal


def shown(facts: Facts, status: Status, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> str:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    sink = TerminalSink()
    sink.begin(replace(facts, **asked))
    sink.on(Progress(status=status))
    sink.on(Warned(text="x"))
    sink.close()
    return stream.getvalue()


def test_what_cannot_wait_until_the_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    say("waiting \x1b[2J")
    assert stream.getvalue() == "waiting ?[2J\n"


def test_a_terminal_has_a_table(facts: Facts, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" in shown(facts, status, monkeypatch)


def test_plain_on_a_terminal_has_no_control_codes(
    facts: Facts, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = shown(facts, status, monkeypatch, plain=True)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_a_dumb_terminal_gets_lines(facts: Facts, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown(facts, status, monkeypatch)


@pytest.mark.parametrize("plain", [False, True])
def test_quiet_writes_nothing(plain: bool, facts: Facts, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(facts, status, monkeypatch, plain=plain, quiet=True) == ""


def test_a_sink_writes_where_standard_output_leads_by_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader) as reads:
        with open(writer, "w", encoding="utf-8") as whole:
            monkeypatch.setattr(sys, "stdout", whole)
            with standard_output() as own:
                assert own is not whole
                own.write("±")
        assert reads.read() == "±"
