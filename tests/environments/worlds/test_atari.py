"""Games of ale-py's vector, while training and in evaluation."""

from typing import Any

import ale_py
import gymnasium
import numpy as np
import pytest

from marl.cluster.runs.prepare import complete, prepare
from marl.config.files import load_config
from marl.environments.check import examine
from marl.environments.look import look
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.environments.worlds import atari
from marl.environments.worlds.atari import new_id, old_id_note
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


def pictures(seeds: tuple[int, int], kwargs: dict[str, Any]) -> list[np.ndarray]:
    """Of one game for each seed, what is seen [T, ...] with the same actions."""
    environments = make_environments(EnvironmentSettings(id="ALE/Breakout-v5", kwargs=kwargs), 1)
    found = []
    for seed in seeds:
        actions = np.random.default_rng(0).integers(0, 4, (40, 1))
        seen = [np.array(environments.reset([seed]))]
        found.append(np.stack([*seen, *(np.array(environments.step(each).observations) for each in actions)]))
    environments.close()
    return found


def test_actions_are_repeated_by_chance() -> None:
    """Sticky actions: what chance does is all that two seeds can differ in, where no game begins with waiting."""
    sticky, others = pictures((1, 2), {"noop_max": 0})
    assert np.array_equal(sticky[0], others[0])
    assert not np.array_equal(sticky, others)
    exact, same = pictures((1, 2), {"noop_max": 0, "repeat_action_probability": 0.0})
    assert np.array_equal(exact, same)
    again, _ = pictures((1, 2), {"noop_max": 0})
    assert np.array_equal(sticky, again)


def test_a_game_begins_with_waiting_for_a_while() -> None:
    """No-op starts: of ten seeds, the first pictures differ. The ball's place in Pong moves from the first frame."""
    environments = make_environments(EnvironmentSettings(id="ALE/Pong-v5"), 1)
    firsts = [np.array(environments.reset([seed])).tobytes() for seed in range(10)]
    environments.close()
    assert len(set(firsts)) > 1
    environments = make_environments(EnvironmentSettings(id="ALE/Pong-v5", kwargs={"noop_max": 0}), 1)
    assert len({np.array(environments.reset([seed])).tobytes() for seed in range(10)}) == 1
    environments.close()


@pytest.mark.parametrize(
    ("name", "game"),
    [
        ("PongNoFrameskip-v4", "ALE/Pong-v5"),
        ("PongNoFrameskip-v0", "ALE/Pong-v5"),
        ("SpaceInvaders-v4", "ALE/SpaceInvaders-v5"),
        ("ale_py:MsPacman-v0", "ALE/MsPacman-v5"),
    ],
)
def test_an_old_id_of_a_game_names_the_new_one(name: str, game: str) -> None:
    make_environments(BREAKOUT, 1).close()  # registers all
    assert f"use {game}, whose observations are the last four grey pictures" in str(
        old_id_note(EnvironmentSettings(id=name))
    )
    assert game in gymnasium.registry


@pytest.mark.parametrize(
    ("name", "game"),
    [
        ("Pong-v4", "Pong"),
        ("Pong-v5", "Pong"),
        ("Pong", "Pong"),
        ("pong-v5", "Pong"),
        ("ALE/Pong-v4", "Pong"),
        ("Breakout-v5", "Breakout"),
        ("SpaceInvaders-v0", "SpaceInvaders"),
        ("BreakoutDeterministic-v4", "Breakout"),
        ("Pong-ram-v0", "Pong"),
        ("Pong-ramNoFrameskip-v4", "Pong"),
        ("MontezumaRevenge-v9", "MontezumaRevenge"),
    ],
)
def test_an_id_that_no_game_has_names_the_one_to_use(name: str, game: str) -> None:
    remedy = f"use ALE/{game}-v5"
    assert new_id(name) == remedy
    if name not in gymnasium.registry:  # all are there once a game has been made
        with pytest.raises(EnvironmentFault, match=f"^no environment named '{name}': {remedy}$"):
            make_environments(EnvironmentSettings(id=name), 1)


def test_such_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atari, "find_spec", lambda unused_name: None)
    assert new_id("Pong-v4") == "run pip install 'marl-cluster[atari]' and use ALE/Pong-v5"


def test_the_games_are_those_of_the_emulator() -> None:
    make_environments(BREAKOUT, 1).close()  # registers all
    games = {each[4:-3] for each in gymnasium.registry if each.startswith("ALE/")}
    assert {*atari.GAMES} == games - {"Blackjack"}
    assert "Blackjack-v1" in gymnasium.registry
    assert new_id("Blackjack-v0") is None


@pytest.mark.parametrize("name", ["ALE/Pong-v5", "CartPole-v1", "tests.fakes:counting", "Nope-v4"])
def test_other_ids_are_not_old(name: str) -> None:
    make_environments(BREAKOUT, 1).close()
    assert old_id_note(EnvironmentSettings(id=name)) is None


def test_an_old_id_is_told_before_training_and_by_the_check() -> None:
    given = {"environment.per_worker": 1, "stop.steps": 100, "node.workers": 1}
    config = complete(load_config("PongNoFrameskip-v4", given))
    prepared = prepare(config, on_children=False, init=None, resume=None, resumed=None)
    assert ["use ALE/Pong-v5" in each for each in prepared.warnings] == [True]
    report = examine(config.environment, seed=0, seconds=0.01)
    assert report.warnings == prepared.warnings


@pytest.mark.parametrize("name", ["ALE/Pong-v5", "PongNoFrameskip-v4"])
def test_the_emulator_prints_no_banner(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Info)  # as in a process that has made none yet
    make_environments(EnvironmentSettings(id=name), 2).close()
    assert capfd.readouterr() == ("", "")


def test_a_look_sees_what_training_sees() -> None:
    assert look(EnvironmentSettings(id="ALE/Pong-v5"), seconds=0.1).spaces.observation_shape == (4, 84, 84)


@pytest.mark.parametrize("training", [True, False])
def test_other_environments_have_no_lives(training: bool) -> None:
    with pytest.raises(EnvironmentFault, match=r"environment.life_ends: expected false but for Atari games \(ALE/"):
        make_environments(EnvironmentSettings(life_ends=True), 1, training=training)
