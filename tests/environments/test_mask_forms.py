"""Masks that come as other numbers than whole ones, and those that hold something else or have another size."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from marl.environments.actions import random_actions
from marl.environments.check import examine
from marl.environments.look import look
from marl.environments.masks import legal_actions
from marl.environments.serial import SerialVector
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.errors import SpaceFault
from tests.doors import DOORS, LENGTH, Doors

MODES = ["NextStep", "SameStep", "Disabled"]
BOX = spaces.Box(-1, 1, (3,), np.float32)
ONES = np.ones(DOORS)


class Typed(Doors):
    """Its mask is of this type; from this episode on, something else is in its place at this step."""

    def __init__(self, kind: str = "float32", bad: Any = None, at: int | None = None, episode: int = 1) -> None:
        super().__init__()
        self._kind, self._bad, self._at, self._left = kind, bad, at, episode
        self.observation_space = spaces.Dict({"observation": BOX, "action_mask": spaces.Box(0, 1, (DOORS,), kind)})

    def _mask(self, mask: Any) -> Any:
        self._left -= self._clock == 0
        return self._bad if self._left <= 0 and self._clock == self._at else mask.astype(self._kind)

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return {"observation": seen, "action_mask": self._mask(mask)}, {}


class TypedInInfo(Typed):
    """The same, said in ``info``."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.observation_space = BOX

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return seen, {"action_mask": self._mask(mask)}


def typed(name: str, mask: str = "auto", **kwargs: Any) -> EnvironmentSettings:
    return EnvironmentSettings(id=f"{__name__}:{name}", mask=mask, kwargs=kwargs)


def vectors(mode: str, **kwargs: Any) -> VectorEnv[Any, Any, Any]:
    """The second of two environments is as the arguments say."""
    kind = kwargs.get("kind", "float32")
    return SyncVectorEnv([lambda: Typed(kind), lambda: Typed(**kwargs)], autoreset_mode=mode)


def played(vector: VectorEnv[Any, Any, Any], steps: int = 3 * LENGTH) -> list[Any]:
    """The masks of allowed random actions: the environment raises where one is not. Last observations lie behind."""
    environments = Environments(vector, "doors")
    try:
        generator, seen = np.random.default_rng(0), environments.reset([0, 1])
        shown = []
        for _ in range(steps):
            shown.append(np.array(seen["action_mask"]))
            drawn = random_actions(environments.spaces, 2, generator)
            step = environments.step(legal_actions(environments.spaces, seen, drawn, generator))
            seen = step.observations
            shown.append(np.array(step.last_observations["action_mask"]))
        assert all(each.dtype.kind in "iub" for each in shown)
        return [each.tolist() for each in shown]
    finally:
        environments.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_mask_may_be_of_any_type(mode: str) -> None:
    expected = played(vectors(mode, kind="int8"))
    assert mode == "NextStep" or [0] * DOORS in [row for rows in expected for row in rows]
    for kind in ("bool", "int64", "float32", "float64"):
        assert played(vectors(mode, kind=kind)) == expected
    assert played(AsyncVectorEnv([Typed] * 2, autoreset_mode=mode)) == expected


def test_a_serial_vector_takes_floats_too() -> None:
    assert played(SerialVector(Typed, 2)) == played(vectors("NextStep", kind="int8"))


def test_the_check_and_a_look_take_floats_too() -> None:
    report = examine(typed("Typed"), seed=0, seconds=0.01)
    assert report.problems == []
    assert look(typed("Typed"), seconds=0.1).step_seconds > 0


BAD: list[tuple[Any, str]] = [
    (None, "holds None{}, expected 0 or 1 for each category of the actions"),
    ("yes", "holds 'yes'{}, expected 0 or 1"),
    ([1, None, 0, 1], "holds None{}, expected 0 or 1"),
    (np.array(["yes"] * DOORS), "holds 'yes'{}, expected 0 or 1"),
    (ONES * 0.75, "holds 0.75{}, expected 0 or 1"),
    (ONES * np.nan, "holds nan{}, expected 0 or 1"),
    (2 * ONES, "holds 2{}, expected 0 or 1"),
    (-ONES.astype(np.int8), "holds -1{}, expected 0 or 1"),
    (256 * ONES.astype(np.int64), "holds 256{}, expected 0 or 1"),
    ({"a": 1}, "holds {{'a': 1}}{}, expected 0 or 1"),
    ([[1, 0], [1, [0]]], "is no row of numbers{}, expected 4, one for each category of the actions"),
    (np.ones(DOORS + 1), "has 5 numbers{}, expected 4, one for each category of the actions"),
    (np.ones(1), "has 1 number{}, expected 4"),
    ([], "has 0 numbers{}, expected 4"),
    (True, "has 1 number{}, expected 4"),
]


def refused(step: Callable[[int], None], name: str, said: str, at: int) -> None:
    when = f" after step {at} of an episode" if at else " at a reset"
    with pytest.raises(SpaceFault) as caught:
        step(8 * LENGTH)
    text = str(caught.value)
    assert text.startswith(f"{name} {said.format(when)}"), text
    assert "\n" not in text


def stepping(environments: Environments) -> Callable[[int], None]:
    """A reset, then one step of allowed actions after another."""

    def step(steps: int) -> None:
        generator, seen = np.random.default_rng(0), environments.reset([0, 1])
        for _ in range(steps):
            drawn = random_actions(environments.spaces, 2, generator)
            seen = environments.step(legal_actions(environments.spaces, seen, drawn, generator)).observations

    return step


@pytest.mark.parametrize(("bad", "said"), BAD)
@pytest.mark.parametrize("at", [0, 3])
def test_a_bad_mask_is_named_with_its_step(bad: Any, said: str, at: int) -> None:
    """In ``info`` and as an entry of an observation."""
    told = typed("TypedInInfo", "info", bad=bad, at=at)
    refused(stepping(make_environments(told, 2)), f"{told.id}: info['action_mask']", said, at)
    shown = typed("Typed", bad=bad, at=at, episode=2)
    refused(stepping(make_environments(shown, 2)), f"{shown.id}: observation action_mask", said, at)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("bad", "said", "at"), [*((*BAD[4], at) for at in (0, 3, LENGTH)), *((*BAD[11], at) for at in (0, 3))]
)
def test_so_it_is_in_each_way_to_reset(mode: str, bad: Any, said: str, at: int) -> None:
    """Also in last observations: gymnasium itself refuses those of different sizes."""
    environments = Environments(vectors(mode, bad=bad, at=at, episode=2), "doors")
    refused(stepping(environments), "doors: observation action_mask", said, at)


@pytest.mark.parametrize("at", [0, 3])
def test_so_it_is_where_environments_have_processes(at: int) -> None:
    environments = Environments(AsyncVectorEnv([Typed, lambda: Typed(bad=np.ones(DOORS + 1), at=at)]), "doors")
    try:
        refused(stepping(environments), "doors: observation action_mask", BAD[11][1], at)
    finally:
        environments.close()


def test_a_mask_of_another_shape_is_named() -> None:
    shown = typed("Typed", bad=np.ones((1, DOORS)), at=3)
    refused(stepping(make_environments(shown, 2)), f"{shown.id}: observation action_mask", "has the shape (1, 4){}", 3)
