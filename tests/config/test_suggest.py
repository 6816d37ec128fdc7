"""The one rule for environments without a preset."""

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from marl.config.rules import validate
from marl.config.settings import from_tree
from marl.config.suggest import as_toml, suggest
from marl.data.spaces import Part, Spaces
from marl.environments.look import Look
from marl.reports.settings import StopSettings

CATEGORY = Part((), "int64", (4,), (0,))
MEASURED_ACTION = Part((2,), low=(-1.0, -1.0), high=(1.0, 1.0))
NUMBERS, CELL, PICTURE = Part((3,)), Part((), "int32", (500,), (0,)), Part((84, 84, 3), "uint8")


def seen(observations: Any = NUMBERS, actions: Any = CATEGORY, **more: Any) -> Look:
    facts: dict[str, Any] = {
        "texts": (),
        "masked": False,
        "step_seconds": 2e-5,
        "limit": 200,
        "rare": False,
        "low": -1.0,
        "high": 1.0,
        "earning": 0.5,
    }
    return Look(Spaces(observations, actions), **{**facts, **more})


def suggested(look: Look, *arguments: Any, **more: Any) -> dict[str, Any]:
    return {each.key: each.value for each in suggest(look, *arguments, **more)}


@pytest.mark.parametrize(
    ("observations", "normalised"),
    [(NUMBERS, True), (CELL, False), (PICTURE, False), ({"a": PICTURE, "b": NUMBERS}, True), ((CELL, PICTURE), False)],
)
def test_measured_numbers_are_normalised(observations: Any, normalised: bool) -> None:
    assert ("environment.normalize_observations" in suggested(seen(observations))) == normalised


@pytest.mark.parametrize(
    ("actions", "bonus"), [(CATEGORY, True), (MEASURED_ACTION, False), ((CATEGORY, MEASURED_ACTION), True)]
)
def test_categories_get_an_entropy_bonus(actions: Any, bonus: bool) -> None:
    assert ("algorithm.entropy_cost" in suggested(seen(actions=actions))) == bonus


@pytest.mark.parametrize(
    ("limit", "discount"), [(None, 0.99), (10, 0.98), (200, 0.98), (500, 0.992), (1000, 0.996), (100_000, 0.9975)]
)
def test_rewards_count_over_a_quarter_of_the_longest_episode(limit: int | None, discount: float) -> None:
    assert suggested(seen(limit=limit))["algorithm.discount"] == discount


@pytest.mark.parametrize(("limit", "discount"), [(None, 0.99), (200, 0.98), (1000, 0.99), (100_000, 0.99)])
def test_movements_look_less_far_ahead(limit: int | None, discount: float) -> None:
    assert suggested(seen(actions=MEASURED_ACTION, limit=limit))["algorithm.discount"] == discount


@pytest.mark.parametrize(
    ("longest", "cut", "discount", "why"),
    [
        (1000, True, 0.996, "random play was cut after 1,000 steps"),
        (100, True, 0.98, "random play was cut after 100 steps"),  # as a registered limit of 100
        (1000, False, 0.996, "random play had an episode of 1,000 steps or more"),
        (100_000, False, 0.9975, "random play had an episode of 100,000 steps or more"),
        (100, False, 0.99, "nothing says how long an episode may be"),  # who plays well may play on
        (0, False, 0.99, "nothing says how long an episode may be"),
    ],
)
def test_without_a_limit_the_longest_episode_that_was_seen_counts(
    longest: int, cut: bool, discount: float, why: str
) -> None:
    look = seen(limit=None, longest=longest, cut=cut)
    (found,) = (each for each in suggest(look) if each.key == "algorithm.discount")
    assert (found.value, found.why) == (discount, why)
    assert suggested(look, timed=False)["algorithm.discount"] == 0.99  # how much is seen depends on the machine
    assert suggested(seen(limit=200, longest=longest, cut=cut))["algorithm.discount"] == 0.98
    moving = suggested(seen(actions=MEASURED_ACTION, limit=None, longest=longest, cut=cut))
    assert moving["algorithm.discount"] == min(discount, 0.99)


@pytest.mark.parametrize(
    ("actions", "moves"), [(CATEGORY, False), (MEASURED_ACTION, True), ((CATEGORY, MEASURED_ACTION), False)]
)
def test_movements_are_learned_in_small_steps(actions: Any, moves: bool) -> None:
    found = suggested(seen(actions=actions))
    assert found["algorithm.learning_rate"] == (5e-4 if moves else 1e-3)
    assert (found.get("algorithm.epochs"), found.get("algorithm.num_minibatches")) == (
        (6, 8) if moves else (None, None)
    )
    assert found.get("algorithm.schedule") == ("auto" if moves else None)


@pytest.mark.parametrize(
    ("rewards", "bonus"),
    [
        ({"low": -0.1, "high": 0.0, "earning": 0.0}, True),  # nothing says what is better
        ({"low": -1.0, "high": 1.0, "earning": 0.02}, False),
        ({"low": 0.0, "high": 1.0, "rare": True, "earning": 5e-5}, True),  # a goal that random play met once
        ({"low": -0.1, "high": 100.0, "earning": 5e-5}, True),  # the same where each step has a cost of its own
        ({"low": 1.0, "high": 1.0, "rare": True, "earning": 1.0}, False),  # each step counts the same
    ],
)
def test_movements_that_earn_something_need_no_bonus_and_less_noise(rewards: dict[str, Any], bonus: bool) -> None:
    found = suggested(seen(actions=MEASURED_ACTION, **rewards))
    assert ("exploration.novelty" in found) == bonus
    assert found.get("network.log_std") == (None if bonus else -0.5)  # what must be found is found by wide movements
    assert "network.log_std" not in suggested(seen(**rewards))
    assert suggested(seen(**rewards))["exploration.novelty"] == 0.1


@pytest.mark.parametrize(
    ("observations", "large"),
    [(PICTURE, True), ({"a": PICTURE, "b": NUMBERS}, True), (Part((10, 10, 3), "uint8"), False)],
)
@pytest.mark.parametrize("actions", [CATEGORY, MEASURED_ACTION], ids=["categories", "measured"])
def test_large_pictures_are_learned_in_small_steps_without_a_bonus(
    observations: Any, large: bool, actions: Any
) -> None:
    found = suggested(seen(observations, actions, earning=0.0))
    assert "exploration.novelty" in suggested(seen(observations, actions, earning=0.0, rare=True))
    measured = actions is MEASURED_ACTION
    assert ("exploration.novelty" in found) == (not large)
    assert found.get("optimizer.beta1") == (0.5 if large else None)
    assert found.get("network.precision") == ("auto" if large else None)
    assert found.get("network.shared_trunk") == (True if large else None)
    assert found.get("algorithm.schedule") == ("auto" if large or measured else None)


def test_a_slow_environment_shares_a_worker_with_fewer() -> None:
    assert suggested(seen(step_seconds=2e-3))["environment.per_worker"] == 8
    assert suggested(seen(step_seconds=2e-3), timed=False)["environment.per_worker"] == 16


@pytest.mark.parametrize(
    ("observations", "rate"), [(CELL, 2e-3), ((CELL, CELL), 2e-3), (NUMBERS, 1e-3), ((CELL, NUMBERS), 1e-3)]
)
def test_categories_alone_are_learned_faster(observations: Any, rate: float) -> None:
    assert suggested(seen(observations))["algorithm.learning_rate"] == rate


def test_texts_are_ignored() -> None:
    assert suggested(seen(texts=("mission", "a/b")))["environment.ignore"] == ["mission", "a/b"]
    assert "environment.ignore" not in suggested(seen())


def test_a_mask_in_info_is_used() -> None:
    assert suggested(seen(masked=True))["environment.mask"] == "info"
    assert suggested(seen(masked=True), "apex_dqn")["environment.mask"] == "info"
    assert "environment.mask" not in suggested(seen())


def test_of_another_algorithm_only_what_fits_any() -> None:
    assert set(suggested(seen(), "sac")) == {"environment.normalize_observations", "algorithm.discount"}
    assert suggested(seen(), "ppo") == suggested(seen())


@pytest.mark.parametrize("look", [seen(), seen(PICTURE, MEASURED_ACTION, rare=True), seen(texts=("mission",))])
def test_makes_a_file_of_settings_that_can_work(look: Look) -> None:
    """Whether the run gets an end or not."""
    text = as_toml({"environment.id": "Taxi-v4", "seed": 3}, suggest(look))
    config = from_tree(tomllib.loads(text))
    for end in (StopSettings(), StopSettings(minutes=3.0), StopSettings(steps=1000)):
        validate(replace(config, stop=end))
    assert (config.environment.id, config.seed, config.algorithm.name) == ("Taxi-v4", 3, "ppo")
    assert text.index("seed") < text.index("[environment]")
    for each in suggest(look):
        assert f"  # {each.why}\n" in text


@pytest.mark.parametrize("timed", [True, False])
def test_where_nothing_was_played_the_reasons_say_so(timed: bool) -> None:
    reasons = {
        each.key: each.why for each in suggest(seen(step_seconds=0.0, low=0.0, high=0.0, earning=0.0), timed=timed)
    }
    unplayed = "random play got through no step"
    assert reasons["environment.normalize_rewards"] == f"{unplayed}: nothing is known of rewards"
    assert reasons["environment.per_worker"] == f"{unplayed}: as many as usual"
    assert not any("random play earns" in each or "microseconds" in each for each in reasons.values())
