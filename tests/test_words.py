"""Words from elsewhere: what a terminal may be given."""

import pytest

from marl import words
from marl.words import printable


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
