"""Words from elsewhere: what a terminal may be given, and how often."""

import pytest

from marl import words
from marl.words import Lines, printable


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("as it is", "as it is"),
        ("naïve 策略 é", "naïve 策略 é"),
        ("two\nlines\r\nof\ttext", "two lines of text"),
        ("\x1b[2J\x1b]0;title\x07", "?[2J?]0;title?"),
        ("C1 \x9b31m \x85next", "C1 ?31m next"),
        ("\u202egnp.exe\u202c \u2066x\u2069", "?gnp.exe? ?x?"),
        ("zero\u200bwidth\u200d\ufeff\u2060", "zero?width???"),
        ("lines\u2028and\u2029paragraphs", "lines and paragraphs"),
        ("hard\xa0space \xad", "hard space ?"),
        ("blank \u3164\u2800\u115f", "blank ???"),
        ("half a pair \ud800", "half a pair ?"),
        ("a" + "\u0300" * 50 + "b", "a" + "\u0300" * 2 + "b"),
        ("", ""),
    ],
)
def test_what_a_terminal_is_given(given: str, expected: str) -> None:
    assert printable(given) == expected
    assert printable(expected) == expected


def test_a_line_ends_somewhere() -> None:
    assert printable("x" * 20, 10) == "xxxxxx ..."
    assert len(printable("x" * 10**7)) == words.MOST
    assert len(printable("\n\x1b" * 10**6)) <= words.MOST


def test_a_cause_is_told_of_now_and_then_whatever_it_says() -> None:
    now, told = [0.0], list[str]()
    lines = Lines(told.append, burst=2, every_s=10.0, clock=lambda: now[0])
    for number in range(1000):
        lines("a", f"text {number}")
    lines("b", "another")
    assert told == ["text 0", "text 1", "another"]
    now[0] = 10.0
    lines("a", "text 1000")
    lines("a", "text 1001")
    assert told[3:] == ["text 1000 (998 more lines like this were left out)"]


def test_many_causes_are_told_of_now_and_then_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], list[str]()
    lines = Lines(told.append, burst_of_all=5, clock=lambda: now[0])
    monkeypatch.setattr(words, "_MAX_CAUSES", 10)
    for number in range(1000):
        lines(number, "from here")
    assert told == ["from here"] * 5
    assert len(lines._buckets) == 10
    now[0] = 1.0
    lines("new", "x" * 10**5)
    assert told[5].endswith(" ... (986 more lines like this were left out)")  # 9 are remembered with their causes
    assert len(told[5]) < words.MOST + 100
