"""``-ip`` takes one value or several in a row, before or after other options, and may be repeated."""

import pytest

from marl.cli.addresses import is_environment, one_each


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
        ("-p 1 -ip", "-p 1 -ip"),
        ("-ip CartPole-v1", "CartPole-v1 -ip"),
        ("-ip 10.0.0.7 LunarLander-v3", "-ip 10.0.0.7 LunarLander-v3"),
        ("-ip LunarLander-v3 10.0.0.7 b -p 1", "LunarLander-v3 -ip 10.0.0.7 -ip b -p 1"),
        ("-p 1 x", "-p 1 x"),
        ("", ""),
    ],
)
def test_each_value_gets_an_option_of_its_own(args: str, expected: str) -> None:
    assert one_each(args.split()) == expected.split()


@pytest.mark.parametrize(
    "word",
    [
        "CartPole-v1",
        "LunarLander-v2",
        "my.games:Snake",
        "my_games:Snake-v0",
        "mine.toml",
        "runs/mine.toml",
        "ALE/Pong-v5",
    ],
)
def test_environments_among_addresses(word: str) -> None:
    assert is_environment(word)


@pytest.mark.parametrize(
    "word",
    [
        "10.0.0.7",
        "10.0.0.7:6000",
        "10.0.0.7:many",
        "box",
        "box.lan",
        "gpu-box-3",
        "box-v2",
        "box:6000",
        "[fe80::1]:6000",
        "::1",
        "b@box:1",
        "wss://b",
    ],
)
def test_addresses_are_no_environments(word: str) -> None:
    assert not is_environment(word)
