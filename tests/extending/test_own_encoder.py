"""An encoder from outside the package under SAC: one for the policy, another for both critics, whose copy follows."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.sac import SAC
from marl.api import evaluate, load, train
from marl.cluster.find_spaces import find_spaces
from marl.cluster.own_parts import try_parts
from marl.config.files import load_config
from marl.data.spaces import Spaces
from marl.errors import ConfigError, MarlError, PluginError
from marl.networks.sac_network import SACNetwork
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.plain_spaces import plain_spaces

WIDE = f"{__name__}:Wide"
SPACES = plain_spaces((3,), action_shape=(2,), action_low=(-2.0, 0.0), action_high=(2.0, 4.0))


class Wide(nn.Module):
    """Five features of what is seen."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings) -> None:
        super().__init__()
        self.size = 5
        self.layers = nn.Sequential(nn.Linear(spaces.observation_size, self.size), nn.Tanh())

    def forward(self, observations: Tensor) -> Tensor:
        return cast(Tensor, self.layers(observations))


class Narrow(Wide):
    """Fewer features than it says."""

    def forward(self, observations: Tensor) -> Tensor:
        return super().forward(observations)[..., 1:]


class Sized(Wide):
    def __init__(self, spaces: Spaces, settings: NetworkSettings) -> None:
        super().__init__(spaces, settings)
        self.size = 0


class Buffered(Wide):
    def __init__(self, spaces: Spaces, settings: NetworkSettings) -> None:
        super().__init__(spaces, settings)
        self.register_buffer("mean", torch.zeros(3))


class Tied(Wide):
    def __init__(self, spaces: Spaces, settings: NetworkSettings) -> None:
        super().__init__(spaces, settings)
        self.again = self.layers[0].weight


def built(seed: int = 1) -> SACNetwork:
    return SAC().build_network(SPACES, NetworkSettings(hidden=(4,), activation="relu", encoder=WIDE), seed)


def test_the_policy_has_one_and_the_critics_another() -> None:
    network, again = built(), built()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    own = cast(Wide, network.critics.features)
    assert type(own) is type(network.actor.hidden) is Wide
    assert not torch.equal(own.layers[0].weight, cast(Wide, network.actor.hidden).layers[0].weight)
    seen, actions = torch.randn(7, 3), torch.randn(7, 2)
    torch.testing.assert_close(network.policy(seen), network.actor.outputs(network.actor.hidden(seen)))
    tensors: dict[str, Any] = dict(network.critics.named_parameters())
    for twin in range(2):
        hidden = torch.cat([own(seen), actions], 1) @ tensors["weight0"][twin] + tensors["bias0"][twin]
        expected = hidden.relu() @ tensors["weight1"][twin] + tensors["bias1"][twin]
        torch.testing.assert_close(network.values(seen, actions)[twin], expected.squeeze(-1))


def test_both_critics_teach_it_and_the_policy_does_not() -> None:
    network, seen, actions = built(), torch.randn(7, 3), torch.randn(7, 2, requires_grad=True)
    network.fixed_values(seen, actions).sum().backward()
    assert all(each.grad is None for each in network.parameters())
    network.values(seen, actions).sum().backward()
    learned = {name for name, each in network.named_parameters() if each.grad is not None and each.grad.any()}
    assert "critics.features.layers.0.weight" in learned
    assert all(name.startswith("critics.") for name in learned)


def test_the_copy_of_it_follows() -> None:
    network = built()
    flat, count = flatten(network), sum(each.numel() for each in network.critics.parameters())
    seen, actions = torch.randn(7, 3), torch.randn(7, 2)
    with torch.no_grad():
        cast(Wide, network.critics.features).layers[0].weight.mul_(3.0)
    assert not torch.equal(network.target(seen, actions), network.values(seen, actions))
    flat.weights[flat.gradient.numel() :] = flat.weights[:count]
    assert torch.equal(network.target(seen, actions), network.values(seen, actions))


def test_a_run_trains_evaluates_and_loads(tmp_path: Path) -> None:
    settings = {
        "seed": 1, "stop.steps": 600, "node.workers": 1, "algorithm.name": "sac", "exchange.name": "weights",
        "environment.per_worker": 4, "network.hidden": [8], "network.encoder": WIDE, "replay.start": 200,
        "replay.ratio": 4.0, "report.runs": str(tmp_path / "runs"), "report.pictures": False,
        "report.sinks": ["metrics"], "evaluation.final_episodes": 2, "evaluation.episodes": 2,
        "environment.solved_return": None,
    }  # fmt: skip
    result = train("Pendulum-v1", settings=settings, out=tmp_path / "weights.pt", live=False)
    assert (result.reason, result.failure) == ("steps", None)
    assert result.updates > 0
    assert len(evaluate(result.weights, episodes=2).returns) == 2
    learned: Any = load(result.weights).network
    assert type(learned.critics.features) is Wide
    followed = learned.past.features.layers[0].weight
    assert not torch.equal(followed, learned.critics.features.layers[0].weight)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"network.encoder": f"{__name__}:Narrow"}, PluginError, r"Narrow: expected .* \[2, 5\] .*, got \[2, 4\]"),
        ({"network.encoder": f"{__name__}:Sized"}, PluginError, "Sized to have a size, the number of its features"),
        ({"network.encoder": f"{__name__}:Buffered"}, PluginError, "Buffered has buffers or tied parameters"),
        ({"network.encoder": f"{__name__}:Tied"}, PluginError, "Tied has buffers or tied parameters"),
        ({"network.encoder": f"{__name__}:Missing"}, PluginError, "has no 'Missing'"),
        (
            {"network.head": "tests.extending.test_own_head:Deep"},
            ConfigError,
            "network.head: sac takes an encoder of your own, and no other part: leave out 'tests",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_found_before_any_process(
    settings: dict[str, Any], error: type[MarlError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        try_parts(config := load_config("Pendulum-v1", {"algorithm.name": "sac", **settings}), find_spaces(config))
    assert "\n" not in str(caught.value)
