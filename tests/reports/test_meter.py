import json

import numpy as np
import pytest

from marl.reports.events import Status
from marl.reports.meter import Meter, StopGoal
from marl.reports.pace import Speed
from marl.reports.plots.curve import MOST

NO_EPISODES = np.zeros(0), np.zeros(0, np.int64)


def update(meter: Meter, seconds: float, *worker_steps: int, restarts: int = 0) -> Status:
    steps = np.array(worker_steps, np.int64)
    return meter.update(seconds, steps, steps // 10, {"entropy": 0.5}, restarts)


def play(meter: Meter, *returns: float) -> None:
    meter.add_episodes(np.array(returns), np.arange(1, len(returns) + 1))


def test_counts_and_what_the_reader_measured() -> None:
    steps = np.array([200, 700])
    status = Meter().update(3.0, steps, steps // 10, {"entropy": 0.5}, 2, Speed(250.0, (50.0, 200.0)))
    assert (status.steps, status.updates, status.seconds, status.restarts) == (900, 90, 3.0, 2)
    assert status.worker_rates == (50.0, 200.0)
    assert status.steps_per_second == 250.0
    assert status.metrics == {"entropy": 0.5}


def test_before_the_first_episode_there_is_no_mean() -> None:
    meter = Meter(goal=StopGoal(solved_return=1.0))
    meter.add_episodes(*NO_EPISODES)
    status = update(meter, 1.0, 10)
    assert (status.return_mean, status.return_std, status.length_mean) == (None, None, None)
    assert status.progress == 0.0


def test_the_window_holds_the_last_episodes() -> None:
    meter = Meter(window=3)
    play(meter, 0.0, 100.0, 1.0, 2.0, 3.0)
    status = update(meter, 1.0, 10)
    assert status.return_mean == 2.0
    assert status.return_std == pytest.approx(np.std([1.0, 2.0, 3.0]))
    assert status.length_mean == 4.0
    assert (status.episodes, status.window_filled) == (5, 3)


def test_solved_needs_a_full_window() -> None:
    meter = Meter(window=3, goal=StopGoal(solved_return=10.0))
    play(meter, 50.0, 50.0)
    assert not meter.solved()
    assert update(meter, 1.0, 10).progress == pytest.approx(2 / 3)
    play(meter, 10.0)
    assert meter.solved()
    play(meter, -100.0)
    assert not meter.solved()


def test_without_a_threshold_nothing_is_solved() -> None:
    meter = Meter(window=1)
    play(meter, 1e9)
    assert not meter.solved()
    assert update(meter, 1.0, 10).progress is None


def test_not_a_number_is_not_solved() -> None:
    meter = Meter(window=1, goal=StopGoal(solved_return=0.0))
    play(meter, float("nan"))
    assert not meter.solved()
    assert update(meter, 1.0, 10).progress == 0.0


def test_solved_progress_starts_at_the_first_mean() -> None:
    meter = Meter(window=2, goal=StopGoal(solved_return=20.0))
    play(meter, -20.0, -20.0)
    assert update(meter, 1.0, 10).progress == 0.0
    play(meter, 10.0, 10.0)
    status = update(meter, 2.0, 20)
    assert status.progress == 0.75
    assert status.seconds_left is None


def test_progress_is_that_of_the_nearest_goal() -> None:
    meter = Meter(goal=StopGoal(steps=1000, seconds=100.0, episodes=4))
    play(meter, 1.0)
    assert update(meter, 10.0, 100).progress == 0.25
    assert update(meter, 50.0, 100).progress == 0.5
    assert update(meter, 50.0, 2000).progress == 1.0


@pytest.mark.parametrize(
    ("goal", "left"),
    [
        (StopGoal(), None),
        (StopGoal(seconds=30.0), 20.0),
        (StopGoal(steps=300), 20.0),
        (StopGoal(episodes=4), 10.0),
        (StopGoal(steps=300, episodes=4), 10.0),
        (StopGoal(steps=50), 0.0),
        (StopGoal(steps=300, solved_return=9.0), 20.0),
    ],
)
def test_seconds_left(goal: StopGoal, left: float | None) -> None:
    meter = Meter(goal=goal)
    play(meter, 1.0, 1.0)
    assert update(meter, 10.0, 100).seconds_left == left


def test_a_restored_meter_goes_on() -> None:
    meter = Meter(window=3, goal=StopGoal(steps=1000, solved_return=7.0))
    play(meter, 5.0, 6.0, 7.0, 8.0)
    update(meter, 10.0, 100, 100)
    state = json.loads(json.dumps(meter.state()))

    resumed = Meter(window=3, goal=StopGoal(steps=1000, solved_return=7.0))
    resumed.restore(state)
    assert resumed.solved()
    status = update(resumed, 15.0, 50, 50, 100)
    assert (status.steps, status.seconds, status.episodes) == (400, 15.0, 4)
    assert status.return_mean == 7.0
    assert status.seconds_left == 15.0  # at the speed since the resume
    assert resumed.state()["first_mean"] == state["first_mean"]


def test_goals_in_words() -> None:
    assert StopGoal().text() == "until stopped by hand"
    assert StopGoal(solved_return=475.0).text() == "until solved (mean return >= 475)"
    goal = StopGoal(steps=500_000, seconds=90.0, episodes=10)
    assert goal.text() == "until 500,000 steps or 10 episodes or 1.5 min"


def test_a_short_run_has_a_point_for_each_episode() -> None:
    """Two ticks of a run that is over before the first line of metrics."""
    meter = Meter(window=2)
    meter.add_episodes(np.array([10.0, 20.0]), np.array([10, 20]), steps=30, seconds=0.02)
    meter.add_episodes(np.array([40.0]), np.array([40]), steps=70, seconds=0.04)
    assert [tuple(point) for point in meter.curve.points] == [
        (15, 0.01, 10.0, 0.0),
        (30, 0.02, 15.0, 5.0),
        (70, 0.04, 30.0, 10.0),
    ]


def test_a_long_run_has_no_more_points_than_a_picture_needs() -> None:
    meter = Meter()
    for tick in range(1, 3001):
        meter.add_episodes(np.ones(7), np.full(7, 20), steps=140 * tick, seconds=0.02 * tick)
    assert MOST / 2 <= len(meter.curve.points) <= MOST
    assert meter.episodes == 21_000
    gaps = np.diff([point.steps for point in meter.curve.points])
    assert gaps.max() < 2 * gaps.min()


def test_the_curve_goes_on_after_a_resume() -> None:
    meter = Meter()
    for tick in range(1, 301):
        meter.add_episodes(np.array([-1 / 3]), np.array([20]), steps=20 * tick, seconds=0.1 * tick)
    update(meter, 30.0, 6000)
    resumed = Meter()
    resumed.restore(json.loads(json.dumps(meter.state())))
    resumed.add_episodes(np.array([2.0]), np.array([20]), steps=20, seconds=30.1)
    points = [point.steps for point in resumed.curve.points]
    assert points == [20 * tick for tick in range(1, 302)]
    assert resumed.curve.points[0].return_mean == pytest.approx(-1 / 3, rel=1e-5)


def test_a_checkpoint_of_an_earlier_version_has_no_curve() -> None:
    meter = Meter()
    play(meter, 1.0)
    state = meter.state()
    del state["curve"]
    meter.restore(state)
    assert meter.curve.points == []


def test_steps_that_go_back_end_nothing() -> None:
    """As where a deterministic worker begins its checkpoint interval again."""
    meter = Meter()
    meter.add_episodes(np.array([1.0]), np.array([5]), steps=100, seconds=1.0)
    meter.add_episodes(np.array([1.0, 2.0, 3.0]), np.array([5, 5, 5]), steps=50, seconds=0.5)
    assert meter.episodes == 4
    assert [point.steps for point in meter.curve.points] == [100]
