"""Lines that others cause: how often they are told."""

import pytest

from marl import log_throttle
from marl.log_throttle import LogThrottle
from marl.words import MOST


def test_a_cause_is_told_of_now_and_then_whatever_it_says() -> None:
    now, told = [0.0], list[str]()
    lines = LogThrottle(told.append, burst=2, every_s=10.0, clock=lambda: now[0])
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
    lines = LogThrottle(told.append, burst_of_all=5, clock=lambda: now[0])
    monkeypatch.setattr(log_throttle, "_MAX_CAUSES", 10)
    for number in range(1000):
        lines(number, "from here")
    assert told == ["from here"] * 5
    assert len(lines._buckets) == 10
    now[0] = 1.0
    lines("new", "x" * 10**5)
    assert told[5].endswith(" ... (986 more lines like this were left out)")  # 9 are remembered with their causes
    assert len(told[5]) < MOST + 100
