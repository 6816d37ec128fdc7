"""What the evaluating process plays."""

from typing import Any, cast

import pytest

from marl.acting.evaluate import Played
from marl.acting.policy import Policy
from marl.algorithms.build import build_network
from marl.cluster.runs.evaluator import OWN_SEEDS, Request, _answer
from marl.config.files import load_config
from marl.environments.vector import make_environments

EPISODES = 4


def played(name: str, limit: int | None) -> Played:
    config = load_config(name, {"evaluation.greedy": False})
    environments = make_environments(config.environment, EPISODES)
    network: Any = build_network(config.algorithm, environments.spaces, config.network)
    policy = Policy(network, environments.spaces, None, {})
    found = _answer(Request(False, EPISODES, OWN_SEEDS, None, limit), policy, environments, config)
    environments.close()
    return cast(Played, found)


@pytest.mark.parametrize(("name", "cut"), [("CliffWalking-v1", EPISODES), ("CartPole-v1", 0)])
def test_only_where_nothing_else_ends_an_episode_it_is_cut(name: str, cut: int) -> None:
    assert played(name, 5).cut == cut
