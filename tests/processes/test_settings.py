"""What settings of the clock say of a link."""

import math

from marl.processes.settings import ClockSettings


def test_a_link_has_seconds_and_bytes() -> None:
    assert ClockSettings(link_delay_ms=20.0, link_mbit=100.0).link() == (0.02, 1.25e7)
    assert ClockSettings().link() == (0.0, math.inf)
