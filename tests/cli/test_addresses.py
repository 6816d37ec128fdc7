"""``-ip`` takes one value or several in a row, before or after other options, and may be repeated."""

import pytest

from marl.cli.addresses import one_each


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("-ip a b -p 1", "-ip a -ip b -p 1"),
        ("-p 1 -ip a b", "-p 1 -ip a -ip b"),
        ("-ip a -ip b", "-ip a -ip b"),
        ("-ip a b -p 1 -ip c d", "-ip a -ip b -p 1 -ip c -ip d"),
        ("CartPole-v1 -ip a b c --plain", "CartPole-v1 -ip a -ip b -ip c --plain"),
        ("--children a b", "--children a --children b"),
        ("-ip -p 1", "-ip -p 1"),  # click then says what is missing
        ("-p 1 x", "-p 1 x"),
        ("", ""),
    ],
)
def test_each_value_gets_an_option_of_its_own(args: str, expected: str) -> None:
    assert one_each(args.split()) == expected.split()
