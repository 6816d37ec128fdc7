"""How a run's result is printed."""

from pathlib import Path

import pytest

from marl.api import TrainResult
from marl.cli.outcome import in_words

RESULT = TrainResult(
    reason="steps",
    solved=False,
    weights=Path("weights.pt"),
    run=Path("runs/x"),
    seconds=1.25,
    steps=1000,
    episodes=7,
    updates=9,
    steps_per_second=800.0,
    return_mean=0.9512,
    return_episodes=7,
    evaluation_mean=-0.0004,
    evaluation_interval=(-0.5, 0.25),
    evaluation_episodes=100,
    evaluation_lacking="",
    first_update_at=None,
    training_started_at=0.0,
    training_ended_at=1.25,
    seconds_per_worker=[],
    failure=None,
    signal=None,
)


@pytest.mark.parametrize(
    ("training", "interval", "told"),
    [(1.0, (0.0, 0.5), True), (1.0, (0.8, 0.95), False), (-10.0, (-30.0, -20.0), True), (-10.0, (-11.0, -10.5), False)],
)
def test_an_evaluation_that_earns_less_says_what_to_try(
    training: float, interval: tuple[float, float], told: bool
) -> None:
    result = RESULT._replace(return_mean=training, evaluation_mean=sum(interval) / 2, evaluation_interval=interval)
    assert ("marl evaluate weights.pt --sampled" in in_words(result)) == told


def test_a_mean_says_of_how_many_episodes_it_is() -> None:
    said = in_words(RESULT)
    assert "return 0.951 over the last 7 episodes of training, " in said
    assert "0.000 over 100 fresh episodes of evaluation, 95 % interval -0.500 to 0.250." in said
    assert said.endswith("marl evaluate weights.pt")
    assert "-0.0 " not in said


@pytest.mark.parametrize(
    ("mean", "count", "words"),
    [(500.0, 100, "500.0 over the last 100 episodes"), (-0.0, 1, "0.0 over the only episode")],
)
def test_one_episode_and_a_full_window(mean: float, count: int, words: str) -> None:
    assert f"return {words} of training" in in_words(RESULT._replace(return_mean=mean, return_episodes=count))
