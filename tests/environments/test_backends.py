"""What `marl check` says of other programs that step an environment."""

import re
import sys
import types
from typing import Any

import gymnasium
import pytest
from gymnasium.vector import VectorWrapper

from marl.environments.backends import speeds
from marl.environments.check import examine
from marl.environments.make import registered_threshold
from marl.environments.settings import EnvironmentSettings
from marl.environments.worlds.pooled import may_offer


class Pool(VectorWrapper[Any, Any, Any]):
    """Takes a seed only when it is made, as envpool's, and has a description of envpool's own."""

    spec = types.SimpleNamespace(config=types.SimpleNamespace(max_episode_steps=200))

    def __init__(self, vector: Any, seed: int) -> None:
        super().__init__(vector)
        self._seed: int | None = seed

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        assert seed is None
        first, self._seed = self._seed, None
        return self.env.reset(seed=first, options=options)


def make_gymnasium(name: str, *, num_envs: int, num_threads: int, seed: int) -> Any:
    if name == "Acrobot-v1":
        raise RuntimeError("no memory")
    return Pool(gymnasium.make_vec("Pendulum-v1" if name.startswith("Pong") else name, num_envs, "sync"), seed)


@pytest.fixture
def envpool(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has these ids."""
    module: Any = types.ModuleType("envpool")
    module.make_gymnasium = make_gymnasium
    module.list_all_envs = lambda: ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pong-v1", "Pong-v5"]
    monkeypatch.setitem(sys.modules, "envpool", module)


def said(name: str, **more: Any) -> str:
    settings = EnvironmentSettings(name, per_worker=3, **more)
    return "\n".join(speeds(settings, seed=0, seconds=0.01))


@pytest.mark.usefixtures("envpool")
def test_a_pool_is_measured_beside_the_usual_environments() -> None:
    text = said("MountainCar-v0")
    pattern = (
        r"steps/s with 3 environments by envpool, (no faster here, )?[\d.]+ times as fast: marl train MountainCar-v0"
    )
    assert re.search(pattern + " --set environment.backend=envpool$", text), text
    assert "as a vector" not in text


@pytest.mark.usefixtures("envpool")
def test_a_vector_of_its_own_is_compared_with_single_environments() -> None:
    text = said("CartPole-v1")
    assert re.search(r"a vector, which is [\d.]+ times as fast as 3 of them one after another", text), text
    assert "by envpool" in text


@pytest.mark.usefixtures("envpool")
def test_another_name_of_a_game_and_other_spaces_are_told() -> None:
    text = said("ALE/Pong-v5")
    assert re.search(r"3 of them one after another$", text, re.MULTILINE), text
    assert re.search(r"marl train Pong-v5 --set environment.backend=envpool \(whose spaces are others\)$", text), text


@pytest.mark.usefixtures("envpool")
def test_a_pool_that_does_not_start_is_told() -> None:
    text = said("Acrobot-v1")
    assert "envpool offers Acrobot-v1, but not with these settings: Acrobot-v1 does not start: RuntimeError: no" in text


@pytest.mark.usefixtures("envpool")
@pytest.mark.parametrize(
    ("name", "more"), [("CartPole-v1", {"backend": "envpool"}), ("Pendulum-v1", {}), ("tests.fakes:counting", {})]
)
def test_nothing_is_said_where_there_is_no_other(name: str, more: dict[str, Any]) -> None:
    assert said(name, **more).count("\n") == 1


@pytest.mark.parametrize(
    ("name", "hint"), [("Acrobot-v1", True), ("InvertedDoublePendulum-v5", True), ("Taxi-v4", False)]
)
def test_an_envpool_that_is_missing_is_named_where_it_would_help(
    name: str, hint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert ("pip install 'marl-cluster[envpool]'" in said(name)) == hint


def test_an_envpool_that_is_missing_is_named_for_minigrid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert "pip install 'marl-cluster[envpool]'" in said("MiniGrid-Empty-5x5-v0", ignore=("mission",))
    assert "envpool" not in said("MiniGrid-MultiRoom-N4-S5-v1", ignore=("mission",))


@pytest.mark.parametrize("name", ["BabyAI-GoToObj-v0", "MiniGrid-DoorKey-5x5-v0", "HumanoidStandup-v5", "Ant-v4"])
def test_ids_that_envpool_is_known_to_have(name: str) -> None:
    assert may_offer(name)


@pytest.mark.usefixtures("envpool")
def test_an_id_that_only_envpool_has() -> None:
    settings = EnvironmentSettings("Pong-v1", backend="envpool", per_worker=2)
    assert registered_threshold(settings) is None
    report = examine(settings, seed=0, seconds=0.01)
    assert report.problems == []
    assert any("steps/s with 2 environments" in fact for fact in report.facts)
