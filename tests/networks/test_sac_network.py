import pytest
import torch
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.networks.sac_network import SACNetwork, SquashedGaussian
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.plain_spaces import plain_spaces

BOX = plain_spaces((6,), action_shape=(2,), action_low=(-2.0, 0.0), action_high=(2.0, 4.0))


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
            "bounds on both sides",
        ),
    ],
)
def test_what_it_cannot_act_in(spaces: Spaces, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        SACNetwork(spaces, NetworkSettings(), 0)
