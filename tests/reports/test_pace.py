"""A look of one reader ends no interval of another."""

import numpy as np

from marl.reports.pace import Pace, Speed


def test_steps_per_second_since_the_last_look() -> None:
    pace = Pace()
    pace.look(1.0, np.array([100, 300]))
    assert pace.look(3.0, np.array([200, 700])) == Speed(250.0, (50.0, 200.0))


def test_every_reader_has_its_own_interval() -> None:
    """One looks five times as often; what each saw adds up to all steps."""
    often, seldom = Pace(), Pace()
    seen = [0.0, 0.0]
    for tick in range(1, 11):
        steps = np.array([tick**2])
        seen[0] += 0.2 * often.look(0.2 * tick, steps).total
        if tick % 5 == 0:
            seen[1] += 1.0 * seldom.look(0.2 * tick, steps).total
    np.testing.assert_allclose(seen, 100.0)


def test_two_looks_at_one_moment_see_the_same() -> None:
    pace = Pace()
    first = pace.look(2.0, np.array([100]))
    assert pace.look(2.0, np.array([150])) == first == Speed(50.0, (50.0,))
    assert pace.look(4.0, np.array([200])) == Speed(50.0, (50.0,))
    assert Pace(1.0).look(1.0, np.array([7, 8])) == Speed(0.0, (0.0, 0.0))


def test_counters_may_be_views_that_change_later() -> None:
    pace, steps = Pace(), np.array([100])
    pace.look(1.0, steps)
    steps[0] = 300
    assert pace.look(2.0, steps).total == 200.0


def test_after_a_resume_only_this_start_counts() -> None:
    assert Pace(10.0).look(15.0, np.array([200])).total == 40.0


def test_a_child_that_joins_is_counted_from_nothing() -> None:
    pace = Pace()
    pace.look(1.0, np.array([100]))
    assert pace.look(2.0, np.array([150, 30])).workers == (50.0, 30.0)


def test_at_the_end_the_last_speed_holds() -> None:
    pace = Pace()
    pace.look(1.0, np.array([100]))
    assert pace.hold(9.0, np.array([100])).total == 100.0
    assert Pace().hold(2.0, np.array([100])).total == 50.0  # nobody has looked before


def test_a_window_evens_out_steps_that_are_counted_in_bursts() -> None:
    """1,000 steps are counted each second; a reader looks ten times as often."""
    pace, seen = Pace(window_s=2.0), []
    for tick in range(1, 101):
        seen.append(pace.look(tick / 10, np.array([tick // 10 * 1000])).total)
    assert seen[9] == 1000.0  # since counting began
    assert max(seen[20:]) <= 1500.0
    assert min(seen[20:]) >= 500.0
    np.testing.assert_allclose(pace.look(20.0, np.array([20_000])).total, 1000.0)  # nobody looked for ten seconds
