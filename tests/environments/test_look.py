"""What a moment of random play shows."""

import threading
from typing import Any

import gymnasium
import numpy as np
import pytest

from marl.environments.look import look
from marl.environments.settings import EnvironmentSettings
from marl.errors import EnvironmentFault
from marl.processes.signals import at_most


class Words(gymnasium.Space[str]):
    """Texts in a space of one's own, as MiniGrid has them."""

    def sample(self, *unused: Any, **unused_too: Any) -> str:
        return "now"

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)


class Told(gymnasium.Env[Any, Any]):
    """An episode of four steps, one of which earns something; its observations hold texts."""

    observation_space = gymnasium.spaces.Dict(
        {
            "place": gymnasium.spaces.Box(0, 1, (2,), np.float32),
            "mission": gymnasium.spaces.Text(8),
            "more": gymnasium.spaces.Dict({"word": Words(), "side": gymnasium.spaces.Discrete(2)}),
        }
    )
    action_space = gymnasium.spaces.Discrete(2)
    closes = 0

    def __init__(self, fails_at: int | None = None) -> None:
        self._steps, self._fails_at = 0, fails_at

    def _seen(self) -> dict[str, Any]:
        return {"place": np.zeros(2, np.float32), "mission": "go", "more": {"word": "now", "side": 1}}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._steps == self._fails_at:
            raise RuntimeError("no")
        return self._seen(), 3.0 * (self._steps == 4), self._steps == 4, False, {}

    def close(self) -> None:
        Told.closes += 1


class Costs(Told):
    """Each step costs another amount; the last of an episode of 2,000 is the goal."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, *_ = super().step(action)
        return seen, 100.0 if self._steps == 2000 else -self._steps / 2000, self._steps == 2000, False, {}


def settings(**more: Any) -> EnvironmentSettings:
    return EnvironmentSettings(id="tests.environments.test_look:Told", **more)


def test_texts_are_left_out_by_their_paths() -> None:
    seen = look(settings(), seconds=5.0)
    assert seen.texts == ("mission", "more/word")
    assert set(seen.spaces.observations) == {"place", "more"}
    assert look(settings(ignore=("mission",)), seconds=5.0).texts == ("more/word",)


def test_rewards_and_their_rarity() -> None:
    seen = look(settings(), seconds=30.0)
    assert (seen.low, seen.high, seen.rare, seen.earning) == (0.0, 3.0, False, 0.25)
    assert look(EnvironmentSettings(id="MountainCar-v0"), seconds=1.0).rare
    assert not look(EnvironmentSettings(id="Pendulum-v1"), seconds=1.0).rare


def test_costs_that_all_differ_earn_nothing() -> None:
    seen = look(EnvironmentSettings(id="tests.environments.test_look:Costs"), seconds=60.0)
    assert (seen.high, seen.rare) == (100.0, False)
    assert 0 < seen.earning < 0.001


def test_the_limit_is_that_of_the_registration() -> None:
    assert look(EnvironmentSettings(id="Pendulum-v1"), seconds=0.1).limit == 200
    assert look(EnvironmentSettings(id="CartPole-v1"), seconds=0.1).limit == 500  # which comes as a vector
    assert look(settings(), seconds=0.1).limit is None


class Cut(Told):
    """Every second episode is cut, after as many steps as the one before has had."""

    _episodes = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, reward, ended, _, info = super().step(action)
        self._episodes += ended
        cut = ended and self._episodes % 2 == 0
        return seen, reward, ended and not cut, cut, info


def test_the_longest_episode_is_that_of_random_play_where_nothing_says_a_limit() -> None:
    def longest(of: EnvironmentSettings) -> tuple[int, bool]:
        seen = look(of, seconds=30.0)
        return seen.longest, seen.cut

    assert longest(settings()) == (4, False)
    assert longest(EnvironmentSettings(id="tests.environments.test_look:Cut")) == (4, True)
    assert longest(settings(kwargs={"fails_at": 3})) == (2, False)  # an episode that has not ended counts
    assert longest(EnvironmentSettings(id="tests.fakes:FakeLimited-v0")) == (0, False)
    assert look(EnvironmentSettings(id="CliffWalking-v1"), seconds=0.1).longest == 0  # not the user's own


@pytest.mark.parametrize("fails_at", [1, 3])
def test_an_environment_that_raises_is_still_closed(fails_at: int) -> None:
    before = Told.closes
    seen = look(settings(kwargs={"fails_at": fails_at}), seconds=5.0)
    assert Told.closes == before + 1
    assert (seen.step_seconds > 0) == (fails_at > 1)


def test_a_look_plays_what_info_allows() -> None:
    seen = look(EnvironmentSettings(id=f"{__name__}:Strict"), seconds=5.0)
    assert seen.masked
    assert (seen.high, seen.earning) == (3.0, 0.25)


@pytest.mark.parametrize("mask", [None, [1, None], "yes", [1, 0.7], [2, 0]])
def test_a_look_says_what_masks_in_info_hold(mask: Any) -> None:
    seen = look(EnvironmentSettings(id=f"{__name__}:Masked", kwargs={"mask": mask}), seconds=0.1)
    assert not seen.masked
    assert seen.unused_mask.startswith("info['action_mask'] is not used: it holds "), seen.unused_mask
    assert seen.step_seconds > 0


class Masked(Told):
    """Has this mask in ``info``."""

    def __init__(self, mask: Any) -> None:
        super().__init__()
        self._mask = mask

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return super().reset(seed=seed)[0], {"action_mask": self._mask}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return *super().step(action)[:4], {"action_mask": self._mask}


class Strict(Masked):
    """Raises where another action than the second is taken."""

    def __init__(self) -> None:
        super().__init__([0.0, True])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action == 1
        return super().step(action)


def test_of_nothing_played_nothing_is_rare() -> None:
    seen = look(settings(kwargs={"fails_at": 1}), seconds=5.0)
    assert (seen.step_seconds, seen.rare) == (0.0, False)


class Hangs(Told):
    """Its third step waits for what never comes."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        answer = super().step(action)
        if self._steps == 3:
            threading.Event().wait()
        return answer


def test_a_step_that_does_not_come_back_ends_the_look() -> None:
    before = Told.closes
    seen = look(EnvironmentSettings(id="tests.environments.test_look:Hangs"), seconds=60.0, limit=at_most(0.2))
    assert Told.closes == before + 1
    assert seen.step_seconds > 0


def test_what_nobody_can_train_on_is_refused() -> None:
    with pytest.raises(EnvironmentFault, match="no environment named 'Nope-v0'"):
        look(EnvironmentSettings(id="Nope-v0"), seconds=1.0)
