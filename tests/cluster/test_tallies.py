"""What children report, added up: over the lives of a child, over a resumed parent, in the order that is asked for."""

import numpy as np

from marl.cluster.tallies import Tallies
from marl.exchanges.telemetry import Report


def report(steps: int, updates: int = 0, returns: tuple[float, ...] = ()) -> Report:
    lengths = np.ones(len(returns), np.int64)
    return Report(np.array([steps, 0]), updates, 0, {"entropy": 0.5}, np.array(returns), lengths)


def test_a_child_that_starts_anew_counts_on() -> None:
    tallies = Tallies()
    for steps in (10, 25, 5, 8):
        tallies.hear("a", report(steps, steps // 5))
    counts = tallies.counts(["a", None])
    assert counts.steps.tolist() == [25 + 8, 0]
    assert counts.updates.tolist() == [5 + 1, 0]
    assert counts.metrics == {"entropy": 0.5}


def test_a_resumed_parent_counts_nothing_twice() -> None:
    tallies = Tallies(resumed=True)
    for steps in (1000, 1010):
        tallies.hear("a", report(steps))
    assert tallies.counts(["a"]).steps.tolist() == [10]


def test_episodes_come_in_the_order_that_is_asked_for() -> None:
    tallies = Tallies()
    tallies.hear("b", report(1, returns=(3.0,)))
    tallies.hear("a", report(1, returns=(1.0, 2.0)))
    returns, lengths = tallies.episodes(["a", None, "b"])
    assert returns.tolist() == [1.0, 2.0, 3.0]
    assert len(lengths) == 3
    assert len(tallies.episodes(["a", "b"])[0]) == 0


def test_a_child_has_a_mean_and_a_speed() -> None:
    tallies = Tallies()
    assert tallies.of("a") is None
    tallies.hear("a", report(10, returns=(1.0, 3.0)))
    tally = tallies.of("a")
    assert tally is not None
    assert tally.return_mean() == 2.0
    assert tally.bytes_per_second(100, 1.0) == 0.0
    assert tally.bytes_per_second(300, 2.0) == 200.0
    assert tally.bytes_per_second(50, 3.0) == 0.0  # another link


def test_who_has_gone_still_counts() -> None:
    """Another node may answer at the same address."""
    tallies = Tallies()
    tallies.hear("old", report(1000, 10, returns=(1.0,)))
    tallies.hear("new", report(1, 1, returns=(2.0,)))
    counts = tallies.counts(["new"])
    assert counts.steps.tolist() == [1, 1000]
    assert counts.updates.sum() == 11
    assert tallies.episodes(["new"])[0].tolist() == [2.0, 1.0]
