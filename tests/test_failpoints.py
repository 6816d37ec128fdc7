"""Named places where a test can make a process fail."""

import math
import os
import signal
import struct

import pytest

from marl import failpoints
from marl.errors import FailpointError
from marl.failpoints import fail


def arm(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(failpoints, "_armed", failpoints._read(text))
    monkeypatch.setattr(failpoints, "_passages", {})


def hits(name: str, passages: int) -> list[int]:
    """The passages, from 1, at which it raises."""
    found = []
    for passage in range(1, passages + 1):
        try:
            fail(name)
        except FailpointError:
            found.append(passage)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("here=raise", [1, 2, 3, 4, 5]),
        ("here=raise@3", [3]),
        ("here=raise@2-4", [2, 3, 4]),
        ("there=raise, here=raise@5", [5]),
        ("there=raise", []),
        ("", []),
    ],
)
def test_it_fails_at_the_passages_that_are_named(
    text: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(monkeypatch, text)
    assert hits("here", 5) == expected


@pytest.mark.parametrize(("action", "number"), [("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)])
def test_a_process_signals_itself(action: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    monkeypatch.setattr(os, "kill", lambda *words: sent.append(words))
    arm(monkeypatch, f"here={action}")
    fail("here")
    assert sent == [(os.getpid(), number)]


def test_one_bit_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "here=corrupt@2")
    memory = bytearray(100)
    fail("here", memoryview(memory))
    assert not any(memory)
    fail("here", memoryview(memory))
    assert sum(byte.bit_count() for byte in memory) == 1


@pytest.mark.parametrize("count", [1, 2, 9155])
def test_one_number_is_none_any_more(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "here=poison")
    memory = bytearray(struct.pack(f"={count}f", *[1.0] * count))
    fail("here", memoryview(memory))
    assert sum(map(math.isnan, struct.unpack(f"={count}f", memory))) == 1


@pytest.mark.parametrize("text", ["here", "here=explode", "here=kill@x", "here=kill@1-x"])
def test_what_is_no_failpoint_is_refused(text: str) -> None:
    with pytest.raises(FailpointError, match="expected name=action@n"):
        failpoints._read(text)
