"""Games of ale-py's vector, while training and in evaluation."""

import numpy as np
import pytest

from marl.environments.look import look
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.errors import EnvironmentFault

BREAKOUT = EnvironmentSettings(id="ALE/Breakout-v5", life_ends=True)
FRAME = 84 * 84


def played(environments: Environments, steps: int) -> tuple[list[bool], list[bool], set[float]]:
    """Where an episode ended, where a step was a reset, and the rewards that came."""
    environments.reset([0])
    rng = np.random.default_rng(0)
    found = [environments.step(rng.integers(0, 4, 1)) for _ in range(steps)]
    ends = [bool(each.terminated[0]) for each in found]
    return ends, [not each.valid[0] for each in found], {float(each.rewards[0]) for each in found}


def test_observations_are_four_pictures_and_move_on_by_one() -> None:
    environments = make_environments(BREAKOUT, 2)
    assert environments.spaces.observation_shape == (4, 84, 84)
    before = np.array(environments.reset([0, 1])).reshape(2, 4, FRAME)
    after = np.array(environments.step(np.array([1, 1])).observations).reshape(2, 4, FRAME)
    assert np.array_equal(after[:, :3], before[:, 1:])
    environments.close()


def test_a_lost_life_ends_an_episode_only_while_training() -> None:
    lives, games = [make_environments(BREAKOUT, 1, training=training) for training in (True, False)]
    of_lives, resets, _ = played(lives, 400)
    of_games, _, _ = played(games, 400)
    assert sum(of_lives) > 2 * sum(of_games) > 0
    assert resets[1:] == of_lives[:-1]
    for each in (lives, games):
        each.close()


def test_rewards_are_points() -> None:
    """ale-py's vector would cut them to 1: a brick of Space Invaders is worth 5 and more."""
    environments = make_environments(EnvironmentSettings(id="ALE/SpaceInvaders-v5"), 1)
    _, _, rewards = played(environments, 300)
    assert max(rewards) >= 5.0
    environments.close()
    clipped = {"reward_clipping": True}
    environments = make_environments(EnvironmentSettings(id="ALE/SpaceInvaders-v5", kwargs=clipped), 1)
    assert max(played(environments, 300)[2]) == 1.0
    environments.close()


def test_a_look_sees_what_training_sees() -> None:
    assert look(EnvironmentSettings(id="ALE/Pong-v5"), seconds=0.1).spaces.observation_shape == (4, 84, 84)


@pytest.mark.parametrize("training", [True, False])
def test_other_environments_have_no_lives(training: bool) -> None:
    with pytest.raises(EnvironmentFault, match=r"environment.life_ends: expected false but for Atari games \(ALE/"):
        make_environments(EnvironmentSettings(life_ends=True), 1, training=training)
