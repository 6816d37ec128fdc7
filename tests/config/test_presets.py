"""Presets: each loads, ends, is listed, and matches its file."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from marl.algorithms.algorithm_class import ALGORITHMS
from marl.algorithms.ppo import PPO
from marl.config.files import load_config
from marl.config.presets import Preset, all_presets, preset_names
from marl.config.rules import demand_end
from marl.config.settings import Config
from marl.environments.settings import EnvironmentSettings
from marl.reports.settings import EvaluationSettings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_and_say_when_they_end(name: str) -> None:
    config = load_config(name)
    demand_end(config)
    assert config.environment.id == name
    assert config.environment.solved_return is not None


ALSO = [(path.parent.name, path.stem.replace("+", "/")) for path in (ROOT / "marl/presets").glob("*/*.toml")]


@pytest.mark.parametrize(("algorithm", "name"), ALSO)
def test_presets_of_other_algorithms(algorithm: str, name: str) -> None:
    config = load_config(name, {"algorithm.name": algorithm})
    demand_end(config)
    assert (config.environment.id, config.algorithm.name) == (name, algorithm)


def test_another_algorithm_than_the_presets_keeps_only_the_task() -> None:
    """Numbers that were tuned for one are no good for another."""
    config = load_config("Acrobot-v1", {"algorithm.name": "ppo"})
    assert config.algorithm == PPO()
    assert config.environment == EnvironmentSettings("Acrobot-v1", solved_return=-100.0)
    assert load_config("Acrobot-v1", {"algorithm.name": "a3c"}) == load_config("Acrobot-v1")


TUNED = {"per_worker", "normalize_observations", "normalize_rewards", "reward_clip", "reward_scale"}


@pytest.mark.parametrize("preset", [each for each in all_presets() if each.default], ids=lambda each: each.name)
def test_what_belongs_to_the_environment_is_kept_for_every_algorithm(preset: Preset) -> None:
    """A preset with a new key of [environment] has to say to which it belongs."""
    ready = {each.algorithm for each in all_presets() if each.name == preset.name}
    tree = tomllib.loads((ROOT / f"marl/presets/{preset.name.replace('/', '+')}.toml").read_text())
    kept = {key: value for key, value in tree["environment"].items() if key not in TUNED}
    assert set(kept) <= {"id", "kwargs", "ignore", "life_ends", "solved_return"}
    count = min(tree["environment"]["per_worker"], EnvironmentSettings.per_worker)
    for algorithm in {*ALGORITHMS, "tests.fake_algorithms:Lazy"} - ready:
        config = load_config(preset.name, {"algorithm.name": algorithm})
        wanted = replace(EnvironmentSettings(**kept), per_worker=count)
        assert config.environment == replace(wanted, ignore=tuple(wanted.ignore))
        assert config.evaluation == EvaluationSettings(**tree.get("evaluation", {}))
        assert (config.network, config.exploration) == (Config().network, Config().exploration)


def test_environments_of_a_process_each_stay_few() -> None:
    for name, per_worker, episodes in (("SumoCrossing-v0", 4, 4), ("retro/Airstriker-Genesis-v0", 4, 4)):
        config = load_config(name, {"algorithm.name": "a3c"})
        assert (config.environment.per_worker, config.evaluation.episodes) == (per_worker, episodes)


def test_a_return_of_a_life_goes_with_episodes_of_a_life() -> None:
    environment = load_config("ALE/Breakout-v5", {"algorithm.name": "a3c"}).environment
    assert (environment.life_ends, environment.solved_return) == (True, 40.0)


def test_the_presets_that_are_promised() -> None:
    promised = {
        "MountainCar-v0",
        "BipedalWalker-v3",
        "CartPole-v1",
        "Acrobot-v1",
        "Pendulum-v1",
        "LunarLander-v3",
        "LunarLanderContinuous-v3",
        "CarRacing-v3",
        "ALE/Pong-v5",
        "ALE/Breakout-v5",
        "HalfCheetah-v5",
        "MiniGrid-Empty-5x5-v0",
        "MiniGrid-MemoryS7-v0",
    }
    assert promised <= set(preset_names())


def test_the_list_has_every_file_once() -> None:
    listed = all_presets()
    files = list((ROOT / "marl/presets").rglob("*.toml"))
    assert len(listed) == len({(each.name, each.algorithm) for each in listed}) == len(files)
    assert sum(each.default for each in listed) == len(preset_names())
    assert Preset("CartPole-v1", "a3c", True, 475.0, "1 to 3 s, 5 of 5 seeds") in listed


def test_the_lander_learns_by_ppo_unless_told_otherwise() -> None:
    """By which it is solved in a third of the time."""
    lander = {(each.algorithm, each.default): each.training for each in all_presets() if each.name == "LunarLander-v3"}
    assert lander["ppo", True] == "6 to 22 s, 10 of 10 seeds"
    assert lander["a3c", False] == "30 to 63 s, 5 of 5 seeds"
    assert load_config("LunarLander-v3", {"algorithm.name": "a3c"}).algorithm.schedule_steps == 20_000_000


@pytest.mark.parametrize("preset", all_presets(), ids=lambda each: f"{each.name}, {each.algorithm}")
def test_the_list_says_what_is_used(preset: Preset) -> None:
    config = load_config(preset.name, None if preset.default else {"algorithm.name": preset.algorithm})
    assert (config.algorithm.name, config.environment.solved_return) == (preset.algorithm, preset.solved_return)


@pytest.mark.parametrize("name", ["ppo/CartPole-v1", "../presets/CartPole-v1", "ALE/../CartPole-v1"])
def test_a_path_is_no_preset(name: str) -> None:
    assert load_config(name).environment == EnvironmentSettings(name)
