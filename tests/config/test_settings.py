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
from marl.words import printable
from tests.config.cases import OTHER, refused, value_of
from tests.fake_algorithms import Lazy


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


names = st.text().filter(lambda text: text == printable(text))
tables = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(names, tables, max_size=4))
def test_any_arguments_of_an_environment_survive_a_file(kwargs: dict[str, Any]) -> None:
    config = Config(environment=EnvironmentSettings(kwargs=kwargs))
    assert from_tree(tomllib.loads(to_toml(config))) == from_tree(to_tree(config))


def test_an_algorithm_of_the_users_own() -> None:
    config = load_config("Acrobot-v1", {"algorithm.name": "tests.fake_algorithms:Lazy", "algorithm.patience": 3})
    assert config.algorithm == Lazy("tests.fake_algorithms:Lazy", patience=3)
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
        ("stop.solved", "False", 'stop.solved: expected true or false, got "False": write --set stop.solved=false'),
        ("stop.solved", "yes", 'expected true or false, got "yes": write --set stop.solved=true'),
        ("stop.solved", 2, "expected true or false, got 2: write --set stop.solved=true"),
        ("environment.normalize_rewards", 1, "true or false, got 1: write --set environment.normalize_rewards=true"),
        ("algorithm.t_max", "five", 'expected a whole number, got "five": write --set algorithm.t_max=5'),
        ("algorithm.t_max", 5.5, "algorithm.t_max: expected a whole number, got 5.5: write --set algorithm.t_max=5"),
        ("stop.steps", 1e6, "expected a whole number, got 1000000.0: write --set stop.steps=1000000"),
        ("stop.steps", "1,000", 'expected a whole number, got "1,000": write --set stop.steps=1000'),
        ("seed", True, "seed: expected a whole number, got true: write --set seed=1"),
        ("algorithm.learning_rate", "fast", 'expected a number, got "fast": write --set algorithm.learning_rate=0.002'),
        ("algorithm.learning_rate", "1,5e-3", "write --set algorithm.learning_rate=0.0015"),
        ("network.hidden", 64, "network.hidden: expected a list, got 64: write --set 'network.hidden=[64]'"),
        ("network.hidden", "64x32", "write --set 'network.hidden=[64,32]'"),
        (
            "network.hidden",
            ["a"],
            'network.hidden[0]: expected a whole number, got "a": write --set \'network.hidden=[',
        ),
        ("environment.kwargs", [1], "expected a table, got [1]: write --set 'environment.kwargs={name=1}'"),
        ("environment.id", 5, "expected text, got 5: write --set 'environment.id=\"5\"'"),
        ("stop.solved", "x" * 999, 'got "xxxxx'),
        ("algorithm", 3, "expected a section of settings, got 3: write --set algorithm.KEY=VALUE"),
        ("stop", [1], "stop: expected a section of settings, got [1]: write --set stop.KEY=VALUE"),
        ("algorithm.t_max.x", 3, "algorithm.t_max"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_key(key: str, value: Any, words: str) -> None:
    message = refused(**{key.replace(".", "__"): value})
    assert words in message
    assert len(message) < 200


def test_nobody_changes_a_config() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 3  # type: ignore[misc]
