import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from marl.data.spaces import Part, Spaces
from marl.errors import ConfigError
from marl.networks.encoders.make_encoder import Features
from marl.networks.encoders.pictures import PictureEncoder
from marl.networks.sac_network import SACNetwork, SquashedGaussian
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.plain_spaces import plain_spaces

BOX = plain_spaces((6,), action_shape=(2,), action_low=(-2.0, 0.0), action_high=(2.0, 4.0))
PICTURE, PLACE = Part((6, 6, 3), "uint8"), Part((), "int32", (5_000,), (0,))
TREE = {"camera": PICTURE, "place": PLACE, "speed": Part((2,)), "tool": Part((), "int32", (3,), (0,))}


def network_for(seed: int = 0) -> SACNetwork:
    return SACNetwork(BOX, NetworkSettings(hidden=(5, 3), activation="relu"), seed)


@pytest.mark.parametrize("seed", range(3))
def test_log_probs_are_those_of_torch(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parameters = 0.5 * torch.randn(7, 3, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(7, 3, 2, generator=generator, dtype=torch.float64)
    ours = SquashedGaussian(2)
    mean, log_std = parameters.chunk(2, -1)
    normal = Independent(Normal(mean, log_std.exp()), 1)
    theirs = TransformedDistribution(normal, [TanhTransform()])
    actions, log_probs = ours.sample_with_log_prob(parameters, noise)
    torch.testing.assert_close(actions, ours.sample(parameters, noise))
    torch.testing.assert_close(actions, (mean + log_std.exp() * noise).tanh())
    torch.testing.assert_close(log_probs, theirs.log_prob(actions), rtol=1e-6, atol=1e-6)


def test_at_the_edge_of_the_box_log_probs_stay_finite() -> None:
    """There the tangent is rounded to 1, and the plain formula divides by 0."""
    parameters = torch.tensor([[30.0, -1.0]], requires_grad=True)
    actions, log_probs = SquashedGaussian(1).sample_with_log_prob(parameters, torch.zeros(1, 1))
    assert actions.item() == 1.0
    log_probs.sum().backward()
    assert log_probs.isfinite().all()
    assert parameters.grad.isfinite().all()


def test_deviations_have_bounds() -> None:
    ours = SquashedGaussian(1)
    for log_std, bound in ((-100.0, -5.0), (100.0, 2.0)):
        one, other = (ours.sample(torch.tensor([0.1, each]), torch.tensor([0.01])) for each in (log_std, bound))
        assert torch.equal(one, other)
    assert ours.mode(torch.tensor([[0.5, 1.0]])).item() == pytest.approx(torch.tensor(0.5).tanh().item())


def test_twins_are_two_networks() -> None:
    network = network_for()
    with torch.no_grad():
        for parameter in network.critics.parameters():
            parameter.normal_()
    tensors = dict(network.critics.named_parameters())
    observations, actions = torch.randn(9, 6), torch.randn(9, 2)
    values = network.values(observations, actions)
    assert values.shape == (2, 9)
    for twin in range(2):
        hidden = torch.cat([observations, actions], 1)
        for layer in range(3):
            hidden = hidden @ tensors[f"weight{layer}"][twin] + tensors[f"bias{layer}"][twin]
            hidden = hidden.relu() if layer < 2 else hidden
        torch.testing.assert_close(values[twin], hidden.squeeze(-1))
    assert not torch.equal(values[0], values[1])


def test_fixed_values_have_a_gradient_to_the_actions_only() -> None:
    network, actions = network_for(), torch.randn(9, 2, requires_grad=True)
    values = network.fixed_values(torch.randn(9, 6), actions)
    values.sum().backward()
    assert actions.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_critics_come_first_and_their_copies_last() -> None:
    network = network_for()
    flat = flatten(network)
    count = sum(parameter.numel() for parameter in network.critics.parameters())
    parameters = flat.gradient.numel()
    assert flat.weights.numel() == parameters + count
    flat.weights[:count].normal_()
    flat.weights[parameters:] = flat.weights[:count]
    observations, actions = torch.randn(9, 6), torch.randn(9, 2)
    assert torch.equal(network.target(observations, actions), network.values(observations, actions))
    assert not network.target(observations, actions).requires_grad


def seen(rows: int) -> dict[str, Tensor]:
    return {
        "camera": torch.randint(0, 256, (rows, 108), dtype=torch.uint8),
        "place": torch.randint(0, 5_000, (rows, 1), dtype=torch.int32),
        "speed": torch.randn(rows, 2),
        "tool": torch.randint(0, 3, (rows, 1), dtype=torch.int32),
    }


def test_critics_see_trees_as_the_policy_does() -> None:
    network = SACNetwork(Spaces(TREE, BOX.actions), NetworkSettings(hidden=(5, 3)), 0)
    features = network.critics.features
    assert isinstance(features, Features)
    assert features.size == 128 + 32 + 2 + 3
    assert network.critics.weight0.shape == (2, features.size + 2, 5)
    observations, actions = seen(9), torch.randn(9, 2)
    values = network.values(observations, actions)
    assert torch.equal(network.target(observations, actions), values)
    assert torch.equal(network.fixed_values(observations, actions), values)
    values.sum().backward()
    learned = {name for name, each in network.named_parameters() if each.grad is not None and each.grad.any()}
    assert {"critics.features.pictures.0.layers.1.weight", "critics.features.tables.0.table"} <= learned
    assert all(name.startswith("critics.") for name in learned)
    rows = features.tables[0].table.grad.abs().sum(-1).nonzero().flatten().tolist()
    assert rows == sorted(set(observations["place"].flatten().tolist()))


@pytest.mark.parametrize(
    ("parts", "encoder", "size"),
    [
        (PICTURE, None, 128),
        (PICTURE, "mlp", None),
        ({"a": PICTURE}, "mlp", None),
        (PLACE, "mlp", 32),
        (PLACE, None, 32),
    ],
)
def test_features_follow_the_settings(parts: object, encoder: str | None, size: int | None) -> None:
    network = SACNetwork(Spaces(parts, BOX.actions), NetworkSettings(encoder=encoder, hidden=(5,)), 0)
    found = network.critics.features
    assert (None if found is None else found.size) == size


def test_the_picture_of_the_critics_is_normalised_where_that_of_the_policy_is() -> None:
    settings = NetworkSettings(hidden=(5,), layer_norm=True)
    for parts in (PICTURE, TREE):
        network = SACNetwork(Spaces(parts, BOX.actions), settings, 0)
        (picture,) = network.critics.features.pictures
        assert isinstance(picture, PictureEncoder)
        assert picture.norm is not None


def test_a_gradient_to_the_actions_alone_over_pictures() -> None:
    network = SACNetwork(Spaces(TREE, BOX.actions), NetworkSettings(hidden=(5,)), 0)
    actions = torch.randn(9, 2, requires_grad=True)
    network.fixed_values(seen(9), actions).sum().backward()
    assert actions.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_targets_of_pictures_lie_behind_all_parameters() -> None:
    """As ``replayed.parts`` has to find them."""
    network = SACNetwork(Spaces(TREE, BOX.actions), NetworkSettings(hidden=(5,)), 0)
    flat = flatten(network)
    count = sum(parameter.numel() for parameter in network.critics.parameters())
    parameters = flat.gradient.numel()
    assert flat.weights.numel() == parameters + count
    flat.weights[:count].mul_(1.5)
    observations, actions = seen(9), torch.randn(9, 2)
    assert not torch.equal(network.target(observations, actions), network.values(observations, actions))
    flat.weights[parameters:] = flat.weights[:count]
    assert torch.equal(network.target(observations, actions), network.values(observations, actions))


def test_the_deviation_starts_where_the_settings_say() -> None:
    network = SACNetwork(BOX, NetworkSettings(log_std=-1.5), 0)
    parameters = network.policy(torch.zeros(1, 6))
    assert parameters.tolist() == [[0.0, 0.0, -1.5, -1.5]]


@pytest.mark.parametrize(
    ("spaces", "reason"),
    [
        (plain_spaces((6,), num_actions=3), "needs continuous actions"),
        (
            plain_spaces((6,), action_shape=(2,), action_low=(-1.0, -float("inf")), action_high=(1.0, 1.0)),
            "bounds on both sides, and some of this environment's lack one: try ppo",
        ),
    ],
)
def test_what_it_cannot_act_in(spaces: Spaces, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        SACNetwork(spaces, NetworkSettings(), 0)
