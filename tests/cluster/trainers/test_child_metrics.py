"""What children report, added up: over the lives of a child, over a resumed parent, in the order that is asked for."""

import json

import numpy as np
import pytest

from marl.cluster.trainers.child_metrics import FASTEST, HEAD_START_S, MOST_RESTARTS, ChildrenMetrics, joined
from marl.exchanges.child_reports import MAX_WORKERS, MOST_STEPS, Report


def report(steps: int, updates: int = 0, returns: tuple[float, ...] = (), *, first: int = 0, length: int = 1) -> Report:
    lengths = np.full(len(returns), length, np.int64)
    return Report(np.array([steps, 0]), updates, 0, {"entropy": 0.5}, first, np.array(returns), lengths)


def test_a_child_that_starts_anew_counts_on() -> None:
    child_metrics = ChildrenMetrics()
    for steps in (10, 25):
        child_metrics.hear("a", report(steps, steps // 5))
    child_metrics.forget("a")
    for steps in (5, 8):
        child_metrics.hear("a", report(steps, steps // 5))
    counts = child_metrics.counts(["a", None])
    assert counts.steps.tolist() == [25 + 8, 0]
    assert counts.updates.tolist() == [5 + 1, 0]
    assert counts.metrics == {"entropy": 0.5}


def test_a_resumed_parent_counts_nothing_twice() -> None:
    """Nor does it miss what was done while there was none."""
    before = ChildrenMetrics()
    before.hear("a", report(1000, 10, returns=(1.0, 2.0)))
    before.counts(["a"])
    before.episodes(["a"])
    before.hear("a", report(1005, 11, returns=(3.0,), first=2))  # and it is killed before it has saved that
    child_metrics = ChildrenMetrics(json.loads(json.dumps(before.state())))
    assert child_metrics.hear("a", report(1010, 12, returns=(1.0, 2.0, 3.0, 4.0))) == 4
    counts = child_metrics.counts(["a"])
    assert (counts.steps.tolist(), counts.updates.tolist()) == ([10], [2])
    assert child_metrics.episodes(["a"])[0].tolist() == [3.0, 4.0]
    assert child_metrics.state()["a"] == (1010, 12, 4)


def test_who_starts_again_while_there_is_no_parent_counts_from_nothing() -> None:
    child_metrics = ChildrenMetrics({"a": (1000, 10, 100)})
    child_metrics.forget("a")
    assert child_metrics.hear("a", report(10, returns=(1.0,))) == 1
    assert child_metrics.counts(["a"]).steps.tolist() == [10]
    assert len(child_metrics.episodes(["a"])[0]) == 1


def test_episodes_come_in_the_order_that_is_asked_for() -> None:
    child_metrics = ChildrenMetrics()
    child_metrics.hear("b", report(1, returns=(3.0,)))
    child_metrics.hear("a", report(2, returns=(1.0, 2.0)))
    returns, lengths = child_metrics.episodes(["a", None, "b"])
    assert returns.tolist() == [1.0, 2.0, 3.0]
    assert len(lengths) == 3
    assert len(child_metrics.episodes(["a", "b"])[0]) == 0


def test_a_child_has_a_mean_and_a_speed() -> None:
    child_metrics = ChildrenMetrics()
    assert child_metrics.of("a") is None
    child_metrics.hear("a", report(10, returns=(1.0, 3.0)))
    metrics = child_metrics.of("a")
    assert metrics is not None
    assert metrics.return_mean() == 2.0
    assert metrics.bytes_per_second(100, 1.0) == 0.0
    assert metrics.bytes_per_second(300, 2.0) == 200.0
    assert metrics.bytes_per_second(50, 3.0) == 0.0  # another link


def test_who_has_gone_still_counts() -> None:
    """Another node may answer at the same address."""
    child_metrics = ChildrenMetrics()
    child_metrics.hear("old", report(1000, 10, returns=(1.0,)))
    child_metrics.hear("new", report(1, 1, returns=(2.0,)))
    counts = child_metrics.counts(["new"])
    assert counts.steps.tolist() == [1, 1000]
    assert counts.updates.sum() == 11
    assert child_metrics.episodes(["new"])[0].tolist() == [2.0, 1.0]


def test_an_episode_that_is_told_again_counts_once() -> None:
    child_metrics = ChildrenMetrics()
    assert child_metrics.hear("a", report(10, returns=(1.0, 2.0))) == 2
    assert child_metrics.hear("a", report(12, returns=(2.0, 3.0), first=1)) == 3
    assert child_metrics.hear("a", report(12, returns=(1.0,))) == 3
    assert child_metrics.episodes(["a"])[0].tolist() == [1.0, 2.0, 3.0]
    assert child_metrics.hear("a", report(20, returns=(7.0,), first=6)) == 7  # too many ended while nobody listened
    assert child_metrics.episodes(["a"])[0].tolist() == [7.0]


@pytest.mark.parametrize("lie", [MOST_STEPS, 2**40, 10**12])
@pytest.mark.parametrize("columns", [1, 1024])
def test_what_a_liar_counts_is_what_time_and_cores_allow(
    lie: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the arrays in its reports are: it has said at first how many workers it has."""
    now = 100.0
    monkeypatch.setattr("marl.cluster.trainers.child_metrics.time.monotonic", lambda: now)
    child_metrics = ChildrenMetrics()
    child_metrics.assign("a", 2)
    most = int(2 * FASTEST * HEAD_START_S)

    def hear(number: int) -> None:
        said = lie * (number % 2)
        steps = np.full(columns, said // columns)
        metrics = {"skipped_updates": said * 1e10}
        child_metrics.hear("a", Report(steps, said, said, metrics, 0, np.zeros(0), np.zeros(0, np.int64)))

    for number in range(20):
        hear(number)
        child_metrics.forget("a")  # it says that it has started again
    counts = child_metrics.counts(["a"])
    assert counts.steps.tolist() == counts.updates.tolist() == [most]
    assert counts.restarts == 2 * MOST_RESTARTS * HEAD_START_S
    assert counts.metrics == {"skipped_updates": most}
    now += 1.0
    for number in range(20):  # and without that word
        hear(number)
    counts = child_metrics.counts(["a"])
    assert counts.steps.tolist() == [most + int(2 * FASTEST)]
    assert counts.restarts == 2 * MOST_RESTARTS * (HEAD_START_S + 1)
    assert counts.metrics == {"skipped_updates": most + int(2 * FASTEST)}


def test_who_comes_with_more_workers_than_reports_hold_counts_as_those(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marl.cluster.trainers.child_metrics.time.monotonic", lambda: 0.0)
    child_metrics = ChildrenMetrics()
    child_metrics.assign("a", 2**20)
    child_metrics.assign("a", 1)  # what the many did before still counts
    child_metrics.hear("a", report(2**60))
    assert child_metrics.counts(["a"]).steps.tolist() == [int(MAX_WORKERS * FASTEST * HEAD_START_S)]


@pytest.mark.parametrize("said", [-1e30, -1.0, 0.5, 0.0])
def test_no_update_was_skipped_less_than_once(said: float) -> None:
    child_metrics = ChildrenMetrics()
    child_metrics.hear("a", report(10)._replace(metrics={"skipped_updates": said, "entropy": 0.5}))
    assert child_metrics.counts(["a"]).metrics == {"entropy": 0.5}


def test_nobody_has_played_more_episodes_than_steps() -> None:
    child_metrics = ChildrenMetrics()
    child_metrics.hear("a", report(100, returns=(1.0,) * 4096, length=30))
    assert len(child_metrics.episodes(["a"])[0]) == 3
    assert child_metrics.hear("a", report(100, returns=(1.0,) * 4096, first=4096, length=0)) == 2 * 4096
    assert len(child_metrics.episodes(["a"])[0]) == 10


def test_any_metric_of_a_child_is_shown_and_totals_are_added() -> None:
    told = [{"outside_observations": 9.0}, {"outside_observations": 1.0}]
    assert joined(told) == {"outside_observations": 10.0}
    told = [{"mine": 1.0, "skipped_updates": 2.0}, {"mine": 3.0, "other": 5.0, "skipped_updates": 4.0}]
    assert joined(told) == {"mine": 2.0, "other": 5.0, "skipped_updates": 6.0}
    assert joined([]) == {}
    assert len(joined([{f"{child}_{number}": 0.0 for number in range(32)} for child in range(9)])) == 64


def test_what_comes_after_the_end_is_for_the_next_parent() -> None:
    child_metrics = ChildrenMetrics()
    child_metrics.hear("a", report(10, returns=(1.0,)))
    child_metrics.close()
    assert child_metrics.hear("a", report(30, returns=(1.0, 2.0))) == 1  # the second is not acknowledged
    assert child_metrics.hear("b", report(30, returns=(3.0,))) == 0
    assert child_metrics.counts(["a", "b"]).steps.tolist() == [10, 0]
    assert child_metrics.episodes(["a", "b"])[0].tolist() == [1.0]
    assert child_metrics.state()["a"] == (10, 0, 1)


def test_what_a_child_sees_outside_its_space_is_counted_and_named() -> None:
    child_metrics = ChildrenMetrics()
    child_metrics.hear("a", report(10))
    assert child_metrics.counts(["a", "b"]).first_outside == ""
    for child, number in (("a", 1e30), ("b", 3.0)):
        said = report(10)._replace(metrics={"outside_observations": number}, first_outside="it is 2")
        child_metrics.hear(child, said)
    counts = child_metrics.counts(["a", "b"])
    assert counts.first_outside == "a: it is 2"
    assert 3 + FASTEST < counts.metrics["outside_observations"] < 1e10
