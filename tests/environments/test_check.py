import multiprocessing
import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AsyncVectorEnv

from marl.cluster.runs.prepare import complete, prepare
from marl.config.files import load_config
from marl.environments.check import examine
from marl.environments.settings import EnvironmentSettings
from marl.errors import EnvironmentFault
from tests.fakes import CountingEnv
from tests.robots import Robot

HERE = "tests.environments.test_check"


def problems(factory: str, **kwargs: Any) -> list[str]:
    settings = EnvironmentSettings(id=f"tests.fakes:{factory}", kwargs=kwargs, per_worker=2)
    report = examine(settings, seed=1, seconds=0.01)
    assert all("\n" not in problem for problem in report.problems)
    return report.problems


@pytest.mark.parametrize(("ends", "words"), [("terminated", "250 episodes term"), ("truncated", "250 were cut")])
def test_a_sound_environment(ends: str, words: str) -> None:
    settings = EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 4, "ends": ends}, per_worker=2)
    report = examine(settings, seed=1, seconds=0.01)
    assert report.problems == []
    facts = "\n".join(report.facts)
    assert words in facts
    assert "actions Discrete(3)" in facts
    assert "steps/s with 1 environment in" in facts
    assert "steps/s with 2 environments in" in facts


def test_an_environment_that_never_ends() -> None:
    report = examine(
        EnvironmentSettings(id="tests.fakes:Boxed", kwargs={"low": [-2], "high": [2]}), seed=1, seconds=0.01
    )
    assert any("no episode ended: set max_episode_steps" in fact for fact in report.facts)


@pytest.mark.parametrize("length", [100, 1])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "observation nan is not finite in step 5"),
        ("shape", r"an observation has shape \(2,\) in step 5, the space declares \(3,\)"),
        ("nan_reward", "reward nan is not finite in step 5"),
        ("raise", "RuntimeError in step 5: the motor broke"),
        ("four", "got 4 values"),
    ],
)
def test_faults_are_named_with_their_step(fault: str, words: str, length: int) -> None:
    """Also where the step is the last of its episode, whose observation only learning from a cut episode looks at."""
    found = problems("Faulty", fault=fault, at=5, length=length)
    assert len(found) == 1
    assert re.search(words, found[0]), found


def test_a_reset_that_raises() -> None:
    assert problems("Faulty", fault="raise_reset", at=0) == ["RuntimeError in reset: the reset broke"]


def test_a_seed_that_does_not_repeat() -> None:
    assert any("the same seed" in problem or "deterministic" in problem for problem in problems("Unrepeatable"))


def test_spaces_that_nothing_here_can_handle() -> None:
    assert ["environment.ignore" in problem for problem in problems("DictObservations")] == [True]


def test_what_cannot_even_be_made() -> None:
    with pytest.raises(EnvironmentFault, match="no licence found"):
        problems("refuses_to_start")


class Undeclared(gymnasium.Env[Any, Any]):
    """Sets only the space that it is told to; counts how often it is closed."""

    closed = 0

    def __init__(self, has: str = "") -> None:
        if has:
            setattr(self, has, CountingEnv().observation_space if has == "observation_space" else Discrete(3))

    def close(self) -> None:
        Undeclared.closed += 1


class Unready(Undeclared):
    """Its property needs what only a reset makes."""

    @property
    def observation_space(self) -> Any:  # type: ignore[override]
        raise RuntimeError("reset\nfirst")


@pytest.mark.parametrize(
    ("factory", "has", "words"),
    [
        ("Undeclared", "", "Undeclared to have an observation_space, got AttributeError: "),
        ("Undeclared", "action_space", "Undeclared to have an observation_space, got AttributeError: "),
        ("Undeclared", "observation_space", "Undeclared to have an action_space, got AttributeError: "),
        ("Unready", "action_space", "Unready to have an observation_space, got RuntimeError: reset first: "),
    ],
)
def test_an_environment_that_does_not_say_what_it_shows_or_takes_is_closed(factory: str, has: str, words: str) -> None:
    Undeclared.closed = 0
    with pytest.raises(EnvironmentFault, match=words) as caught:
        examine(EnvironmentSettings(id=f"{HERE}:{factory}", kwargs={"has": has}), seed=1, seconds=0.01)
    assert "\n" not in str(caught.value)
    assert Undeclared.closed == 1


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize(("ends", "words"), [("terminated", "250 episodes term"), ("truncated", "250 were cut")])
def test_a_factory_that_makes_a_vector_itself(mode: str, ends: str, words: str) -> None:
    kwargs = {"mode": mode, "length": 4, "ends": ends}
    settings = EnvironmentSettings(id="tests.fakes:counting_vector", kwargs=kwargs, per_worker=2)
    report = examine(settings, seed=1, seconds=0.01)
    assert (report.problems, words in "".join(report.facts)) == ([], True)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_faults_within_a_vector_are_named_with_their_step(mode: str) -> None:
    """Also in the last step of an episode, whose observation a vector may have put aside."""
    assert problems("faulty_vector", mode=mode, fault="nan", at=5, length=5) == [
        "observation nan is not finite in step 5"
    ]


def counting_in_processes(num_envs: int) -> AsyncVectorEnv:
    return AsyncVectorEnv([lambda: CountingEnv(length=4)] * num_envs)


def test_a_vector_that_has_processes() -> None:
    report = examine(EnvironmentSettings(id=f"{HERE}:counting_in_processes", per_worker=2), seed=1, seconds=0.01)
    assert report.problems == []
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("kind", ["Robot", "Picker", "Arm"])
def test_spaces_that_are_trees(kind: str) -> None:
    report = examine(EnvironmentSettings(id=f"tests.robots:{kind}", ignore=("name",)), seed=0, seconds=0.01)
    assert report.problems == []
    assert any("1,000 random steps" in fact for fact in report.facts)


class Switches(gymnasium.Env[Any, Any]):
    """Shows bools, and which switch may be pressed as bools, too."""

    observation_space = Dict({"lights": Box(0, 1, (2, 3), bool), "action_mask": Box(0, 1, (3,), bool)})
    action_space = Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._pressed: list[int] = []
        return self._shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action not in self._pressed
        self._pressed.append(action)
        return self._shown(), 1.0, len(self._pressed) == 3, False, {}

    def _shown(self) -> dict[str, Any]:
        free = ~np.isin(np.arange(3), self._pressed)
        return {"lights": np.stack([free, ~free]), "action_mask": free}


def test_bools_are_played_as_numbers_and_as_a_mask() -> None:
    report = examine(EnvironmentSettings(id=f"{HERE}:Switches", per_worker=2), seed=0, seconds=0.01)
    assert report.problems == []
    assert any("333 episodes terminated" in fact for fact in report.facts)


class Grey(gymnasium.Env[Any, Any]):
    """Shows grey pictures, without channels."""

    observation_space = Box(0, 255, (20, 30), np.uint8)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros((20, 30), np.uint8), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros((20, 30), np.uint8), 0.0, True, False, {}


@pytest.mark.parametrize(("encoder", "told"), [(None, True), ("mlp", False)])
def test_pictures_that_go_through_hidden_layers_are_told_before_training_and_by_the_check(
    encoder: str | None, told: bool
) -> None:
    given = {"environment.per_worker": 1, "stop.steps": 100, "node.workers": 1, "network.encoder": encoder}
    config = complete(load_config(f"{HERE}:Grey", given))
    prepared = prepare(config, on_children=False, init=None, resume=None, resumed=None)
    report = examine(config.environment, seed=0, seconds=0.01)
    assert prepared.warnings == (report.warnings if told else [])
    assert ["ReshapeObservation(environment, (20, 30, 1))" in each for each in report.warnings] == [True]


class Far(gymnasium.Env[Any, Any]):
    """Every second observation lies outside its space."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return np.array([0, 3], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return np.array([0, 3 * (self._steps % 2 == 0)], np.float32), 0.0, self._steps == 9, False, {}


def test_observations_outside_their_space_are_counted_and_no_problem() -> None:
    """As in training, which uses them as they are."""
    report = examine(EnvironmentSettings(id=f"{HERE}:Far", per_worker=2), seed=0, seconds=0.01)
    assert report.problems == []
    (warning,) = report.warnings
    assert "number 1 of observation is 3, outside its space of -1 to 1" in warning
    assert "(556 of the observations of these steps)" in warning  # 1,000 steps of 112 episodes, each with 5


TOLD, IN_INFO, MISFIT = "tests.environments.test_look:Told", "tests.doors:InInfo", "tests.environments.test_masks:Told"
ONE_TOO_MANY = {"action": Discrete(2), "first": np.ones(3), "rest": np.ones(3)}


@pytest.mark.parametrize(
    ("name", "kwargs", "fact", "warning"),
    [
        (TOLD, {}, None, "mission, more/word: texts are nothing to learn from, a run leaves them out"),
        (IN_INFO, {}, "info has an action_mask: a run takes allowed actions only", None),
        (MISFIT, ONE_TOO_MANY, None, "info['action_mask'] is not used: it has 3 numbers, expected 2, one for each"),
    ],
)
def test_what_a_run_chooses_by_a_look_is_checked(
    name: str, kwargs: dict[str, Any], fact: str | None, warning: str | None
) -> None:
    settings = EnvironmentSettings(id=name, kwargs=kwargs, per_worker=2)
    report = examine(settings, seed=0, seconds=0.01, looks=True)
    assert report.problems == []
    assert [each.startswith(warning or "?") for each in report.warnings] == ([True] if warning else [])
    assert any(each.startswith(fact or "obs") for each in report.facts)
    assert "charset" not in "".join(report.facts)


def test_texts_are_a_problem_where_a_run_does_not_look() -> None:
    (problem,) = examine(EnvironmentSettings(id=TOLD), seed=0, seconds=0.01).problems
    assert (
        'got Text(1, 8) in mission, which has no fixed size: leave it out (environment.ignore=["mission"])' in problem
    )


class OutOfRange(Robot):
    def _shown(self) -> dict[str, Any]:
        return {**super()._shown(), "dials": np.array([7, 9])}


class OtherNames(Robot):
    def _shown(self) -> dict[str, Any]:
        return {"camera": super()._shown()["camera"]}


class OtherShape(Robot):
    def _shown(self) -> dict[str, Any]:
        return {**super()._shown(), "camera": np.zeros((8, 8), np.uint8)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (OutOfRange, "observation dials 7 lies outside its space of 5 to 6 in reset"),
        (OtherNames, "an observation is of another structure than its space in reset: expected values named"),
        (OtherShape, r"an observation has shape .*'camera': \(8, 8\).* in reset, the space declares"),
    ],
)
def test_observations_that_are_not_of_a_tree(kind: type[Robot], words: str) -> None:
    settings = EnvironmentSettings(id=f"tests.environments.test_check:{kind.__name__}", ignore=("name",))
    (problem,) = examine(settings, seed=0, seconds=0.01).problems
    assert re.search(words, problem)
