"""Settings of a run on an environment without a preset: the user's, over what a look at it suggests."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import VectorWrapper

from marl.cluster.runs.suggestions import choose, choose_anew
from marl.config.files import load_config
from marl.config.settings import to_tree
from marl.errors import ConfigError, EnvironmentFault
from tests.doors import DOORS, Doors, InInfo

TAXI = "Taxi-v4"


def chosen(settings: dict[str, Any], source: str = TAXI, **more: Any) -> Any:
    return choose(source, {"stop.steps": 1000, **settings}, **more)


def test_an_environment_without_a_preset_is_looked_at() -> None:
    found = chosen({})
    assert (found.config.algorithm.name, found.config.algorithm.discount) == ("ppo", 0.98)
    assert found.config.environment.normalize_rewards
    first, *lines = found.in_words()
    assert first == "Taxi-v4 has no preset; a look at it chose (marl suggest Taxi-v4 prints a file of it):"
    assert re.fullmatch(r'  algorithm.name = "ppo" +# it learns every kind of space and action', lines[0])


@pytest.mark.parametrize("name", ["Taxi-v4", "tests.robots:Robot", "tests.doors:InInfo"])
def test_each_setting_that_was_chosen_is_told_with_its_reason(name: str) -> None:
    found = choose_anew(name, {"stop.steps": 1000})
    _, *lines = found.in_words()
    assert len(lines) <= 12
    for each in found.suggestions:
        assert any(f"{each.key} = " in line and line.endswith(f"  # {each.why}") for line in lines), each


class Misfit(Doors):
    """Its mask in ``info`` has a number for each of some other actions."""

    observation_space = InInfo.observation_space

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return seen, {"action_mask": np.ones(DOORS + 1, np.int8)}


def test_a_mask_that_cannot_be_used_is_told_and_not_chosen() -> None:
    found = choose_anew(f"{__name__}:Misfit", {"stop.steps": 1000})
    assert "environment.mask" not in {each.key for each in found.suggestions}
    assert found.in_words()[-1].startswith("info['action_mask'] is not used: it has 5 numbers, expected 4")


def test_what_the_user_sets_wins_and_is_no_suggestion() -> None:
    found = chosen({"algorithm.discount": 0.5, "environment": {"per_worker": 4}})
    assert (found.config.algorithm.discount, found.config.environment.per_worker) == (0.5, 4)
    assert not {"algorithm.discount", "environment.per_worker"} & {each.key for each in found.suggestions}


def test_numbers_of_the_suggested_algorithm_can_be_set() -> None:
    for settings in ({"algorithm.kl_stop": 0.02}, {"algorithm": {"kl_stop": 0.02}}):
        assert chosen(settings).config.algorithm.kl_stop == 0.02
    assert chosen({"algorithm": {"name": "a3c"}}).config.algorithm.name == "a3c"
    with pytest.raises(ConfigError, match=r"algorithm\.target_period"):
        chosen({"algorithm.target_period": 5})


def test_what_does_not_go_with_the_users_settings_is_left_out() -> None:
    found = chosen({"exchange.name": "observations"})
    keys = {each.key for each in found.suggestions}
    assert "algorithm.name" in keys
    assert not {"environment.normalize_rewards", "exploration.novelty"} & keys


def test_another_algorithm_keeps_its_own_defaults() -> None:
    found = chosen({"algorithm.name": "apex_dqn"})
    assert [each.key for each in found.suggestions] == ["environment.mask", "algorithm.discount"]
    assert "(marl suggest Taxi-v4 --algorithm apex_dqn prints" in found.in_words()[0]
    assert found.config.algorithm.t_max == 16


@pytest.mark.parametrize("source", ["CartPole-v1", "file"])
def test_a_preset_or_a_file_is_followed_as_it_is(source: str, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'[environment]\nid = "{TAXI}"\n')
    source = str(file) if source == "file" else source
    found = chosen({}, source)
    assert found.suggestions == []
    assert found.in_words() == []
    assert to_tree(found.config) == to_tree(load_config(source, {"stop.steps": 1000}))


def test_nobody_looks_where_nobody_shall() -> None:
    assert chosen({}, look=False).suggestions == []
    assert chosen({"environment.backend": "envpool"}, look=False).suggestions == []


class Pool(VectorWrapper[Any, Any, Any]):
    """Described as envpool does it."""

    spec = types.SimpleNamespace(config=types.SimpleNamespace(max_episode_steps=320))


@pytest.fixture
def envpool(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose Reacher-v5 is a pendulum, so that nobody can take it for gymnasium's."""
    module: Any = types.ModuleType("envpool")
    module.make_gymnasium = lambda unused_name, num_envs, **unused: Pool(
        gymnasium.make_vec("Pendulum-v1", num_envs, "sync")
    )
    module.list_all_envs = lambda: ["Reacher-v5"]
    monkeypatch.setitem(sys.modules, "envpool", module)


@pytest.mark.usefixtures("envpool")
def test_an_environment_of_envpool_is_looked_at() -> None:
    found = chosen({"environment.backend": "envpool"}, "Reacher-v5")
    assert (found.config.environment.backend, found.config.algorithm.name) == ("envpool", "ppo")
    assert found.config.environment.normalize_observations
    assert found.config.algorithm.discount == 0.9875  # a quarter of envpool's limit
    assert "algorithm.discount = 0.9875" in "\n".join(found.in_words())


@pytest.mark.usefixtures("envpool")
def test_an_environment_that_envpool_lacks_is_refused_as_training_does() -> None:
    with pytest.raises(EnvironmentFault, match="envpool does not offer Taxi-v4"):
        chosen({"environment.backend": "envpool"})
    with pytest.raises(EnvironmentFault, match="expected 'gymnasium' or 'envpool', got 'gpu'"):
        chosen({"environment.backend": "gpu"})


def test_a_suggestion_may_be_asked_for_where_there_is_a_preset() -> None:
    assert {each.key for each in choose_anew("CartPole-v1", {}).suggestions} >= {"algorithm.name", "algorithm.discount"}


def test_a_file_is_no_environment() -> None:
    with pytest.raises(ConfigError, match=r"expected an environment, .* got the file own\.toml"):
        choose_anew("own.toml", {})
