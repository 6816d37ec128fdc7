"""A head from outside the package: it makes the outputs of policy, value and action values."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.apex_dqn import ApexDQN
from marl.api import evaluate, load, train
from marl.cluster.find_spaces import find_spaces
from marl.cluster.own_parts import try_parts
from marl.config.files import load_config
from marl.config.names import find_refused
from marl.config.settings import to_tree
from marl.errors import ConfigError, MarlError, PluginError
from marl.networks.build_network import actor_critic
from marl.networks.contract import Policy
from marl.networks.settings import NetworkSettings
from tests.extending.memory import MEMORY, counting

CATCH = "examples.own_environment:Catch-v0"
DEEP = f"{__name__}:Deep"


class Deep(nn.Module):
    """One more layer than marl's own."""

    def __init__(self, features: int, outputs: int, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.hidden[0]
        self.layers = nn.Sequential(nn.Linear(features, width), nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.layers(features))


class OneMore(Deep):
    def __init__(self, features: int, outputs: int, settings: NetworkSettings) -> None:
        super().__init__(features, outputs + 1, settings)


class Flattens(Deep):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).flatten()


class Fails(Deep):
    def __init__(self, features: int, outputs: int) -> None:
        raise NotImplementedError


class Nothing:
    """No module."""


@pytest.mark.parametrize("core", [None, MEMORY])
@pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
def test_outputs_are_the_heads(shared: bool, core: str | None) -> None:
    spaces = counting("SameStep", "terminated", length=3).spaces
    settings = NetworkSettings(hidden=(8,), head=DEEP, core=core, shared_trunk=shared)
    network: Any = actor_critic(spaces, settings, 1)
    again: Any = actor_critic(spaces, settings, 1)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    policy, seen = cast(Policy, network), torch.randn(1, 5, spaces.observation_size)
    state, actor, critic = policy.initial_state(5), network.actor, network.critic or network.actor
    if core is None:
        features = [each.hidden(seen[0]) for each in (actor, critic)]
    else:
        made, _ = actor.core.step(actor.hidden(seen[0]), state)
        features = [made, made if shared else critic.hidden(made)]
    logits, values = (each.head(below) for each, below in zip((actor, critic), features, strict=True))
    decision = policy.step(seen[0], state)
    assert torch.equal(decision.parameters, logits[:, : spaces.num_actions])
    if decision.values is not None:
        assert torch.equal(decision.values, values[:, -1])
    resets = None if core is None else torch.zeros(1, 5, dtype=torch.bool)
    parameters, unrolled = policy.unroll(seen, state, resets, 1)
    assert torch.equal(parameters[0], decision.parameters)
    assert torch.equal(unrolled[0], values[:, -1])


def test_a_target_network_follows_it() -> None:
    spaces = counting("SameStep", "terminated", length=3).spaces
    network: Any = ApexDQN().build_network(spaces, NetworkSettings(hidden=(8,), head=DEEP), 1)
    seen = torch.randn(5, spaces.observation_size)
    before = network.policy(seen)
    assert torch.equal(network.target(seen), before)
    with torch.no_grad():
        network.online.head.layers[2].bias += torch.arange(float(len(network.online.head.layers[2].bias)))
    assert torch.equal(network.target(seen), before)
    assert not torch.allclose(network.policy(seen), before)


@pytest.mark.parametrize("algorithm", ["ppo", "apex_dqn"])
def test_a_run_trains_evaluates_and_loads(algorithm: str, tmp_path: Path) -> None:
    settings = {
        "seed": 1, "stop.steps": 1500, "node.workers": 1, "algorithm.name": algorithm, "exchange.name": "weights",
        "environment.per_worker": 4, "network.hidden": [8], "network.head": DEEP, "replay.start": 200,
        "report.runs": str(tmp_path / "runs"), "report.pictures": False, "report.sinks": ["metrics"],
        "evaluation.final_episodes": 4, "evaluation.episodes": 2, "environment.solved_return": None,
    }  # fmt: skip
    result = train(CATCH, settings=settings, out=tmp_path / "weights.pt", live=False)
    assert (result.reason, result.failure) == ("steps", None)
    assert result.updates > 0
    assert len(evaluate(result.weights, episodes=3).returns) == 3
    assert load(result.weights) is not None


@pytest.mark.parametrize(
    ("head", "error", "words"),
    [
        ("mlp", ConfigError, "network.head: expected 'linear', or your own package.module:Class, got 'mlp'"),
        (
            f"{__name__}:OneMore",
            PluginError,
            r"OneMore: expected forward to make \[2, 3\] of features \[2, 64\], got \[2, 4\]: .* outputs, 3, the",
        ),
        (f"{__name__}:Flattens", PluginError, r"Flattens: expected forward to make \[2, 3\] of .*, got \[6\]: the"),
        (f"{__name__}:Fails", PluginError, r"network.head: .*Fails\(features, outputs, settings\) failed: TypeError"),
        (f"{__name__}:Nothing", PluginError, "network.head: expected a class that derives from torch.nn.Module"),
        (f"{__name__}:None_", PluginError, "has no 'None_'"),
    ],
)
def test_what_cannot_work_is_found_before_any_process(head: str, error: type[MarlError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        try_parts(config := load_config(CATCH, {"network.head": head}), find_spaces(config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", ["linear", None])
def test_by_default_it_is_linear(head: str | None) -> None:
    spaces = counting("SameStep", "terminated", length=3).spaces
    made = [actor_critic(spaces, each, 1).state_dict() for each in (NetworkSettings(), NetworkSettings(head=head))]
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@pytest.mark.parametrize(("key", "value"), [("network.name", "my.module:Network"), ("algorithm.name", "sac")])
def test_who_builds_the_whole_network_takes_no_head(key: str, value: str) -> None:
    with pytest.raises(MarlError, match=r"network\.head: "):
        try_parts(config := load_config("Pendulum-v1", {"network.head": DEEP, key: value}), find_spaces(config))


def test_a_file_or_a_parent_may_name_it_only_where_its_module_is_allowed() -> None:
    tree = to_tree(load_config("CartPole-v1", {"network.head": "examples.own_network:Convolutions"}))
    refused = find_refused(tree, ())
    assert refused is not None
    assert (refused.part, refused.module) == ("head", "examples.own_network")
    assert find_refused(tree, ("examples",)) is None
