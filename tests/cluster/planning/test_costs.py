"""What playing and learning cost: measured on real parts, with a clock that counts its readings."""

import itertools

import pytest

from marl.cluster.planning.costs import Line, line_through, measure
from marl.config.files import load_config
from marl.errors import EnvironmentFault


def test_a_line_through_two_points() -> None:
    assert line_through([(4, 0.5), (16, 1.1)]) == pytest.approx((0.3, 0.05))
    assert line_through([(4, 0.5), (16, 1.1)]).at(10) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ([(16, 1.0)], Line(1.0, 0.0)),
        ([(4, 1.0), (16, 0.9)], Line(0.9, 0.0)),  # noise: more cannot take less
        ([(4, 0.1), (8, 1.0)], Line(0.0, 0.125)),  # nothing takes less than nothing
    ],
)
def test_numbers_that_noise_has_moved(points: list[tuple[float, float]], line: Line) -> None:
    assert line_through(points) == pytest.approx(line)


def test_ppo_on_cartpole() -> None:
    config, readings = load_config("CartPole-v1", {"algorithm.name": "ppo", "seed": 1}), itertools.count()
    costs = measure(config, 100.0, lambda: float(next(readings)))  # whatever else this machine does
    algorithm = config.algorithm
    assert costs.updates == algorithm.batches_per_trajectory()
    rows = config.environment.per_worker / algorithm.num_minibatches  # type: ignore[attr-defined]
    assert costs.minibatch == pytest.approx(rows, rel=0.2)  # steps that only reset are no transitions
    assert costs.step.at(16) > 0
    assert costs.update.at(64) > 0
    assert costs.work_seconds > 0


def test_what_was_measured_is_divided_by_what_was_done() -> None:
    """Each reading of this clock is a second later than the one before."""
    rows = 4
    config = load_config("CartPole-v1", {"algorithm.name": "a3c", "environment.per_worker": rows, "seed": 1})
    readings = itertools.count()
    costs = measure(config, 100.0, lambda: float(next(readings)))
    assert costs.updates == 1
    assert costs.step.at(rows) == pytest.approx(1 / min(config.algorithm.t_max, 25 // rows))
    assert costs.update.at(10) == pytest.approx(1.0)
    assert not costs.assumed


def test_one_environment_stands_for_all_where_steps_are_slow() -> None:
    """Each reading of this clock is a second later: with two steps, two updates and the start it is read nine times."""
    settings = {"algorithm.name": "ppo", "environment.per_worker": 16, "seed": 1}
    config = load_config("CartPole-v1", settings)
    readings = itertools.count()
    costs = measure(config, 1.0, lambda: float(next(readings)))
    assert next(readings) <= 12
    assert costs.step == pytest.approx(Line(0.0, 1.0))
    assert costs.minibatch == 16
    assert costs.assumed == "one environment takes 1 s a step, 16 are taken to need 16 s"


def test_an_environment_that_fails() -> None:
    config = load_config("tests.environments.test_closing:Raises", {"seed": 1})
    with pytest.raises(EnvironmentFault):
        measure(config, 0.05)
