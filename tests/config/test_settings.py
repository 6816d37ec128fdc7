"""Every setting, into a file and back; keys and kinds that there are not."""

import dataclasses
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.algorithms.ppo import PPO
from marl.config.files import load_config, to_toml
from marl.config.settings import Config, all_keys, from_tree, to_tree
from marl.environments.settings import EnvironmentSettings
from tests.config.cases import OTHER, refused, value_of
from tests.fakes import Lazy


def test_this_file_knows_every_setting() -> None:
    assert sorted(OTHER) == sorted(all_keys(PPO))
    for key, value in OTHER.items():
        before = Config() if key == "algorithm.name" else Config(algorithm=PPO())
        assert value_of(before, key) != value


@pytest.mark.parametrize("key", OTHER)
def test_every_setting_survives_a_file(key: str) -> None:
    """Alone, whatever else it may contradict: a run folder says what was, and reading it changes nothing."""
    tree: Any = OTHER[key]
    for part in reversed(key.split(".")):
        tree = {part: tree}
    if key.startswith("algorithm."):
        tree["algorithm"]["name"] = "ppo"  # whose numbers OTHER has
    config = from_tree(tree)
    assert value_of(config, key) == OTHER[key]
    assert from_tree(tomllib.loads(to_toml(config))) == config
    assert from_tree(to_tree(config)) == config


tables = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner.filter(lambda value: value is not None), max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(), tables, max_size=4))
def test_any_arguments_of_an_environment_survive_a_file(kwargs: dict[str, Any]) -> None:
    """But for None, which TOML lacks: it is left out."""
    config = Config(environment=EnvironmentSettings(kwargs=kwargs))
    assert from_tree(tomllib.loads(to_toml(config))) == from_tree(to_tree(config))


def test_an_algorithm_of_the_users_own() -> None:
    config = load_config("Acrobot-v1", {"algorithm.name": "tests.fakes:Lazy", "algorithm.patience": 3})
    assert config.algorithm == Lazy("tests.fakes:Lazy", patience=3)
    assert from_tree(to_tree(config)) == config


@pytest.mark.parametrize("name", ["tests.fakes:CountingEnv", "tests.fakes:counting", "ppo2"])
def test_what_is_no_algorithm(name: str) -> None:
    assert "algorithm.name: expected" in refused(algorithm__name=name)


def test_a_key_that_another_algorithm_has() -> None:
    assert "'algorithm.clip' here: algorithm.name = 'ppo' has it" in refused(algorithm__clip=0.2)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("algorithm.learning_rat", "algorithm.learning_rate"),
        ("algorithm.lambda", "algorithm.gae_lambda"),
        ("environment.per_workers", "environment.per_worker"),
        ("node.worker", "node.workers"),
        ("stop.step", "stop.steps"),
        ("sed", "seed"),
        ("algorith.discount", None),
    ],
)
def test_an_unknown_key_suggests_the_nearest(key: str, near: str | None) -> None:
    message = refused(**{key.replace(".", "__"): 1})
    if near is None:
        assert "no setting is called 'algorith'" in message
    else:
        assert message == f"no setting is called {key!r}: did you mean {near!r}?"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("algorithm.t_max", "five", "algorithm.t_max: expected `int`, got `str`"),
        ("algorithm.t_max", 5.5, "algorithm.t_max: expected `int`, got `float`"),
        ("algorithm.learning_rate", "fast", "algorithm.learning_rate: expected `float`, got `str`"),
        ("environment.normalize_rewards", 1, "environment.normalize_rewards: expected `bool`, got `int`"),
        ("network.hidden", 64, "network.hidden: expected `array`, got `int`"),
        ("environment.kwargs", [1], "environment.kwargs: expected `object`, got `array`"),
        ("seed", True, "seed: expected `int | null`, got `bool`"),
        ("algorithm", 3, "algorithm: expected a section of settings, got 3"),
        ("algorithm.t_max.x", 3, "algorithm.t_max"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_key(key: str, value: Any, words: str) -> None:
    assert words in refused(**{key.replace(".", "__"): value})


def test_nobody_changes_a_config() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 3  # type: ignore[misc]
