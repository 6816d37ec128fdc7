"""Where a mask is found, and what is refused."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from marl.data.spaces import Spaces
from marl.environments.actions import random_actions
from marl.environments.check import examine
from marl.environments.describe import describe
from marl.environments.look import look
from marl.environments.masks import legal_action, legal_actions
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.errors import EnvironmentFault, SpaceFault
from tests.doors import DOORS, LENGTH, Doors, Pairs

BOX, MASK = spaces.Box(-1, 1, (3,), np.float32), spaces.MultiBinary(DOORS)


def doors(kind: str = "Doors", **more: Any) -> EnvironmentSettings:
    return EnvironmentSettings(id=f"tests.doors:{kind}", **more)


def seen(entries: dict[str, Any], mask: str = "auto", action: Any = None) -> Spaces:
    return describe(spaces.Dict(entries), action or spaces.Discrete(DOORS), (), mask)


@pytest.mark.parametrize("entry", [MASK, *(spaces.Box(0, 1, (DOORS,), kind) for kind in (np.int8, np.float32, bool))])
def test_the_usual_entry_is_found_whatever_its_kind(entry: Any) -> None:
    found = seen({"observation": BOX, "action_mask": entry})
    assert found.mask == "action_mask"
    assert found.observations["action_mask"].categories == (2,) * DOORS
    assert found.measured_size == 3  # nothing normalises a mask
    assert found.unmasked.observation_shape == (3,)


def test_other_entries_stay_a_tree() -> None:
    found = describe(Pairs.observation_space, Pairs.action_space, (), "open")
    assert found.mask == "open"
    assert set(found.unmasked.observations) == {"a", "side"}


@pytest.mark.parametrize(
    ("entries", "mask"),
    [
        ({"observation": BOX, "mask": MASK}, "auto"),  # of another name
        ({"observation": BOX, "action_mask": MASK}, "none"),
        ({"observation": BOX, "action_mask": spaces.MultiBinary(DOORS + 1)}, "none"),
        ({"action_mask": MASK}, "none"),
    ],
)
def test_what_is_no_mask_is_an_observation(entries: dict[str, Any], mask: str) -> None:
    assert seen(entries, mask).mask is None


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (spaces.MultiBinary(5), "has 5 numbers"),
        (spaces.MultiBinary(1), "has 1 number"),
        (spaces.Box(0, 1, (5,), np.int8), "has 5 numbers"),
        (spaces.MultiDiscrete([2] * 3), "has 3 numbers"),
        (spaces.MultiBinary((2, 2)), r"has the shape \(2, 2\)"),  # as many numbers
        (spaces.MultiBinary((1, DOORS)), r"has the shape \(1, 4\)"),
        (spaces.Discrete(DOORS), r"has the shape \(\)"),
        (spaces.Tuple([MASK]), "is a Tuple of 1 entries"),
        (spaces.Dict(a=MASK, b=MASK), "is a Dict of 2 entries"),
    ],
)
@pytest.mark.parametrize("mask", ["auto", "action_mask", "info"])
def test_a_mask_that_does_not_fit_is_refused(entry: Any, words: str, mask: str) -> None:
    """Never left out unsaid: what is learned then would be another task."""
    said = {"auto": "observation action_mask"}.get(mask, f"environment.mask = '{mask}': the entry 'action_mask'")
    expected = 'expected 4 numbers, one for each category of the actions: mend it, or set environment.mask = "none"$'
    with pytest.raises(SpaceFault, match=f"^{said} {words}, {expected}"):
        seen({"observation": BOX, "action_mask": entry}, mask)


@pytest.mark.parametrize(
    "action", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2), spaces.Dict(a=BOX, b=spaces.Discrete(3))]
)
def test_categories_of_any_actions_count(action: Any) -> None:
    with pytest.raises(SpaceFault, match=r"observation action_mask has 7 numbers, expected [345] numbers"):
        seen({"observation": BOX, "action_mask": spaces.MultiBinary(7)}, action=action)


@pytest.mark.parametrize(
    ("entries", "mask", "words"),
    [
        ({"observation": BOX, "mask": MASK}, "masc", r"an entry 'masc' of 4 numbers, .* got entries \['mask', 'obs"),
        ({"mask": MASK}, "mask", "'mask' is all there is to see, expected other entries beside it: add one, or set"),
        ({"action_mask": MASK}, "auto", "observation action_mask is all there is to see"),
    ],
)
def test_a_mask_that_is_missing_or_alone_is_refused(entries: dict[str, Any], mask: str, words: str) -> None:
    with pytest.raises(SpaceFault, match=words):
        seen(entries, mask)


def test_measured_actions_have_no_mask() -> None:
    entries, measured = {"observation": BOX, "action_mask": MASK}, spaces.Box(-1, 1, (DOORS,))
    assert seen(entries, action=measured).mask is None
    with pytest.raises(SpaceFault, match=r"expects actions that have categories, .*, got actions \[4\] from -1"):
        seen(entries, "action_mask", action=measured)


def play(environments: Environments, steps: int) -> list[Any]:
    """Random actions that the masks allow; the environment raises where one is not."""
    generator, shown = np.random.default_rng(0), [environments.reset(list(range(environments.count)))]
    for _ in range(steps):
        drawn = random_actions(environments.spaces, environments.count, generator)
        shown.append(environments.step(legal_actions(environments.spaces, shown[-1], drawn, generator)).observations)
    return shown


@pytest.mark.parametrize(("kind", "mask"), [("Doors", "auto"), ("InInfo", "info"), ("Pairs", "open")])
def test_random_actions_are_allowed_ones(kind: str, mask: str) -> None:
    environments = make_environments(doors(kind, mask=mask), 3)
    play(environments, 3 * LENGTH)
    environments.close()


@pytest.mark.parametrize(("kind", "mask"), [("Doors", "auto"), ("InInfo", "info"), ("Pairs", "open")])
@pytest.mark.parametrize("shut_at", [0, 3])
def test_a_mask_that_allows_nothing_is_refused(kind: str, mask: str, shut_at: int) -> None:
    environments = make_environments(doors(kind, mask=mask, kwargs={"shut_at": shut_at}), 2)
    with pytest.raises(
        EnvironmentFault, match=rf"{kind}: the mask allows no action after step {shut_at} of an episode"
    ):
        play(environments, 2 * LENGTH)
    environments.close()


def test_a_single_action_is_allowed_too() -> None:
    for environment, mask in ((Doors(), "auto"), (Pairs(), "open")):
        found = describe(environment.observation_space, environment.action_space, (), mask)
        observation, _ = environment.reset(seed=0)
        for _ in range(LENGTH):
            observation, *_ = environment.step(legal_action(environment.action_space, found, observation))


class Says(Doors):
    """Has in ``info`` what it is told."""

    observation_space = BOX

    def __init__(self, **info: Any) -> None:
        super().__init__()
        self._info = info

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return seen, self._info


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, r"environment.mask = 'info' expects info\['action_mask'\], got an empty info at a reset: add it"),
        ({"mask": 1}, r"expects info\['action_mask'\], got entries \['mask'\] at a reset: add it at every reset and"),
        ({"action_mask": np.ones(5)}, r"info\['action_mask'\] has 5 numbers at a reset, expected 4, one for each"),
        (
            {"action_mask": [1, 1, 0]},
            r"info\['action_mask'\] has 3 numbers at a reset, expected 4, .*: mend it, or set",
        ),
        ({"action_mask": True}, r"info\['action_mask'\] has 1 number at a reset, expected 4"),
        ({"action_mask": [np.ones(2), np.ones(3)]}, r"info\['action_mask'\] has 5 numbers at a reset, expected 4"),
    ],
)
def test_info_lacks_a_mask_or_has_one_of_another_size(info: dict[str, Any], words: str) -> None:
    settings = EnvironmentSettings(id="tests.environments.test_masks:Says", kwargs=info, mask="info")
    with pytest.raises(SpaceFault, match=words):
        make_environments(settings, 1).reset([0])


def test_no_mask_in_info_allows_measured_actions() -> None:
    with pytest.raises(SpaceFault, match="expects actions that are Discrete or MultiDiscrete, got Box"):
        make_environments(EnvironmentSettings(id="Pendulum-v1", mask="info"), 1)


def test_a_look_finds_a_mask_in_info() -> None:
    for settings, masked in (
        (doors("InInfo"), True),
        (doors("InInfo", mask="none"), False),
        (doors(), False),
    ):
        found = look(settings, seconds=0.2)
        assert (found.masked, found.unused_mask) == (masked, "")


PER_PAIR = (np.ones(3), np.ones(5))


@pytest.mark.parametrize(
    ("action", "first", "rest", "words"),
    [
        (spaces.Discrete(4), np.ones(4), np.ones(4), None),
        (spaces.MultiDiscrete([3, 5]), PER_PAIR, PER_PAIR, None),
        (spaces.MultiDiscrete([3, 5]), np.ones(8), np.ones(8), None),
        (spaces.Discrete(4), np.ones(5), np.ones(5), "it has 5 numbers, expected 4, one for each category"),
        (spaces.Discrete(4), np.ones(4), np.ones(1), "it has 1 number, expected 4"),
        (spaces.MultiDiscrete([3, 5]), np.ones(2), np.ones(2), "it has 2 numbers, expected 8"),
        (spaces.Discrete(4), np.ones(4), None, "some steps have none"),
        (spaces.Discrete(4), None, np.ones(4), "some steps have none"),
        (spaces.Box(-1, 1, (4,)), np.ones(4), np.ones(4), "actions are Box, not Discrete or MultiDiscrete"),
        (spaces.MultiBinary(4), np.ones(8), np.ones(8), "actions are MultiBinary, not"),
        (spaces.Dict(a=spaces.Discrete(4)), np.ones(4), np.ones(4), "actions are Dict, not"),
        (spaces.Tuple([spaces.Discrete(4)]), np.ones(4), np.ones(4), "actions are Tuple, not"),
    ],
)
def test_a_look_takes_a_mask_in_info_only_where_it_can_be_used(
    action: Any, first: Any, rest: Any, words: str | None
) -> None:
    found = look(
        EnvironmentSettings(id=f"{__name__}:Told", kwargs={"action": action, "first": first, "rest": rest}), seconds=0.1
    )
    assert found.masked == (words is None)
    assert found.unused_mask.startswith(f"info['action_mask'] is not used: {words}" if words else "")
    assert bool(found.unused_mask) == bool(words)


class Told(gymnasium.Env[Any, Any]):
    """Has the masks that it is told in ``info``: at the reset, and at each step."""

    observation_space = BOX

    def __init__(self, action: Any, first: Any, rest: Any) -> None:
        self.action_space, self._first, self._rest = action, first, rest

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {} if self._first is None else {"action_mask": self._first}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        info = {} if self._rest is None else {"action_mask": self._rest}
        return np.zeros(3, np.float32), 0.0, False, False, info


def test_the_check_plays_allowed_actions() -> None:
    for kind, mask in (("Doors", "auto"), ("Pairs", "open")):
        report = examine(doors(kind, mask=mask), seed=0, seconds=0.1)
        assert [each for each in report.problems if "shut" in each] == []
