"""What the model expects: each rule by itself, and the cases that it was made for."""

import math
from typing import Any

import pytest

from marl.cluster.planning.costs import Costs, Line
from marl.cluster.planning.machines import Machine
from marl.cluster.planning.model import (
    LOST_BETWEEN_ROUNDS,
    LOST_BY_HOGWILD,
    Forecast,
    Task,
    alone,
    forecasts,
    kept,
    lost_between_rounds,
    reference_of,
)

HERE = Machine(1, 1)
ALL = ("weights", "gradients", "experience")
LUNAR = Costs(Line(1.2e-4, 3.8e-5), Line(4e-4, 1.1e-6), updates=16, minibatch=4.0, work_seconds=1e-3)  # seconds
SLOW = LUNAR._replace(step=Line(1e-4, 2e-3))  # 2 ms a step
TASK = Task(rows=16, length=64, updates=16, minibatch=256, short_rounds=4, weights=10_000, step_bytes=60, exchanges=ALL)


def children(count: int, **facts: Any) -> list[Machine]:
    """On a link of .5 ms and 1 Gbit/s, unless said otherwise."""
    return [Machine(1, 1, **{"round_trip": 5e-4, "bytes_per_second": 1.25e8, **facts})] * count


def of(exchange: str, found: list[Forecast]) -> Forecast:
    return next(each for each in found if each.exchange == exchange)


def test_one_worker_alone_plays_then_learns() -> None:
    seconds = 64 * (1.2e-4 + 16 * 3.8e-5) + 16 * (4e-4 + 256 * 1.1e-6)
    assert alone(TASK, LUNAR, HERE) == pytest.approx(1 / seconds)


def test_a_slow_machine_and_one_with_more_workers_than_cores() -> None:
    one = alone(TASK, LUNAR, HERE)
    assert alone(TASK, LUNAR, Machine(1, 1, slowness=2.0)) == pytest.approx(one / 2)
    two = 2 * kept(LOST_BY_HOGWILD, 2) * one
    assert alone(TASK, LUNAR, Machine(2, 2)) == pytest.approx(two)
    assert alone(TASK, LUNAR, Machine(2, 1)) == pytest.approx(two / 2)


def test_what_is_lost_between_rounds_goes_through_the_measured_points() -> None:
    for updates, lost in LOST_BETWEEN_ROUNDS:
        assert lost_between_rounds(updates) == pytest.approx(lost)
    found = [lost_between_rounds(2.0**each) for each in range(13)]
    assert found == sorted(found)
    assert kept(0.096, 4) == pytest.approx(0.776, abs=1e-3)  # of the table: 3.1 of 4
    assert kept(0.017, 8) == pytest.approx(0.894, abs=1e-3)  # 7.2 of 8


def test_a_fast_environment_feeds_one_learner() -> None:
    """16 updates a trajectory: a round of gradients each costs more than it saves."""
    found = forecasts(TASK, LUNAR, HERE, children(4))
    assert found[0].exchange == "experience"
    assert of("weights", found).speedup > 1.4 > of("gradients", found).speedup
    assert found == sorted(found, key=lambda each: -each.speedup)


def test_actors_that_would_wait_for_their_learner_play_longer_trajectories() -> None:
    eight = of("experience", forecasts(TASK, LUNAR, HERE, children(8)))
    assert (eight.rows, eight.longer) == (4, 2)
    two = of("experience", forecasts(TASK, LUNAR, HERE, children(2)))
    assert (two.rows, two.longer) == (8, 1)
    assert of("experience", forecasts(TASK, SLOW, HERE, children(8))).longer == 1
    large = LUNAR._replace(update=Line(0.0, 1e-4))  # learning takes as long as there are transitions
    assert of("experience", forecasts(TASK, large, HERE, children(8))).longer == 1


def test_more_rounds_are_under_way_only_where_that_hides_something() -> None:
    """Weights are older then, and with two rounds all wait for the slowest."""
    near = of("experience", forecasts(TASK, SLOW, HERE, children(8)))
    far = of("experience", forecasts(TASK, SLOW, HERE, children(8, round_trip=0.4)))
    uneven = of("experience", forecasts(TASK, SLOW, HERE, [*children(3), *children(1, slowness=4.0)]))
    assert (near.under_way, far.under_way, uneven.under_way) == (2, 3, 3)


def test_the_learning_rate_grows_with_the_transitions_of_an_update() -> None:
    few = TASK._replace(rows=4)
    for exchange in ("weights", "gradients"):
        found = {count: of(exchange, forecasts(few, SLOW, HERE, children(count))) for count in (3, 8, 32)}
        assert {count: each.batch for count, each in found.items()} == {3: 0.75, 8: 1.0, 32: 4.0}
        assert {count: each.rate for count, each in found.items()} == {3: 1.0, 8: 1.0, 32: 2.0}


def test_where_a_step_takes_long_gradients_cost_nothing() -> None:
    found = forecasts(TASK, SLOW, HERE, children(8))
    assert found[0].speedup > 6
    assert of("gradients", found).speedup > of("weights", found).speedup > 4


def test_on_a_slow_link_rounds_are_rare() -> None:
    near = forecasts(TASK, SLOW, HERE, children(4))
    far = forecasts(TASK, SLOW, HERE, children(4, round_trip=0.2, bytes_per_second=2.5e6))
    assert of("weights", near).trajectories == 1
    assert of("weights", far).trajectories > 1
    assert of("gradients", far).speedup < of("weights", far).speedup


def test_where_bytes_are_what_takes_long_they_are_fewer() -> None:
    near = forecasts(TASK, SLOW, HERE, children(4))
    narrow = forecasts(TASK._replace(weights=1_000_000), SLOW, HERE, children(4, bytes_per_second=2.5e6))
    assert of("weights", near).settings == {"codec": "float32"}
    assert of("weights", narrow).settings == {"codec": "int8"}


def test_a_long_round_trip_is_hidden_by_the_next_gradient() -> None:
    large = LUNAR._replace(update=Line(0.02, 1e-5))  # an update takes as long as the trip
    far = [each for each in forecasts(TASK, large, HERE, children(4, round_trip=0.02)) if each.exchange == "gradients"]
    speedups = {each.settings["form"]: each.speedup for each in far if each.settings["codec"] == "float32"}
    assert speedups["delayed"] > 1.3 * speedups["exact"]


def test_a_slow_child_holds_up_all_but_those_that_wait_for_nobody() -> None:
    uneven = [*children(3), *children(1, slowness=4.0)]
    found = [each for each in forecasts(TASK, SLOW, HERE, uneven) if each.exchange == "gradients"]
    assert found[0].settings["form"] == "asynchronous"
    even = [each for each in forecasts(TASK, SLOW, HERE, children(4)) if each.exchange == "gradients"]
    assert even[0].settings["form"] != "asynchronous"


def test_children_that_share_this_machines_cores_do_not_help() -> None:
    here = Machine(2, 2)
    found = forecasts(TASK, SLOW, here, children(2, here=True))
    assert max(each.speedup for each in found) < 1.4
    assert forecasts(TASK, SLOW, here, children(2))[0].speedup > max(each.speedup for each in found)


@pytest.mark.parametrize("exchange", ALL)
def test_where_there_are_fewer_environments_than_workers_their_steps_are_divided(exchange: str) -> None:
    small = TASK._replace(rows=4)
    shapes = {}
    for count in (2, 4, 6, 8, 16):
        found = of(exchange, forecasts(small, SLOW, HERE, children(count)))
        shapes[count] = (found.rows, found.length)
    assert shapes == {2: (2, 64), 4: (1, 64), 6: (1, 43), 8: (1, 32), 16: (1, 32)}
    four, eight = (of(exchange, forecasts(small, SLOW, HERE, children(count))).speedup for count in (4, 8))
    assert eight > 1.2 * four


@pytest.mark.parametrize(("length", "shortest"), [(20, 32), (64, 64)], ids=["short", "network that remembers"])
def test_some_trajectories_stay_as_long_as_they_are(length: int, shortest: int) -> None:
    small = TASK._replace(rows=4, length=length, shortest=shortest)
    assert {each.length for each in forecasts(small, SLOW, HERE, children(8))} == {length}


def test_a_batch_that_cannot_be_divided_further_gains_nothing_more() -> None:
    small = TASK._replace(rows=4, shortest=64)
    assert of("gradients", forecasts(small, SLOW, HERE, children(8))).rows == 1
    four, eight = (of("gradients", forecasts(small, SLOW, HERE, children(count))).speedup for count in (4, 8))
    assert eight < four


def test_only_what_the_settings_allow() -> None:
    found = forecasts(TASK._replace(exchanges=("weights",)), LUNAR, HERE, children(2))
    assert {each.exchange for each in found} == {"weights"}


def test_the_measured_speedup_is_the_expected_one_where_all_goes_as_expected() -> None:
    machines = children(4)
    way = forecasts(TASK, SLOW, HERE, machines)[0]
    reference = reference_of(TASK, SLOW, [HERE, *machines], way)
    single = alone(TASK, SLOW, HERE) * 16 * 64  # steps a second
    assert math.isclose(reference.speedup(way.speedup * single / way.kept), way.speedup)


@pytest.mark.parametrize("exchange", ["weights", "gradients"])
def test_fewer_updates_teach_less(exchange: str) -> None:
    """They take less time, too: most where updates are what takes time."""
    task = TASK._replace(exchanges=(exchange,))
    some, fewer = (
        of(exchange, forecasts(each, SLOW, HERE, children(4)))
        for each in (task, task._replace(fewer=tuple(min(4.0 * rows, 8.0) for rows in range(1, 17))))
    )
    assert fewer.kept < 0.6 * some.kept
    assert fewer.speedup < 0.7 * some.speedup
