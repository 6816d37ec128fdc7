import math

import pytest
import torch

from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.networks.actor_critic import ActorCritic, RecurrentActorCritic
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.plain_spaces import plain_spaces

DISCRETE = plain_spaces((2, 3), num_actions=4)
BOX = plain_spaces((6,), action_shape=(2,), action_low=(-1.0, -1.0), action_high=(1.0, 1.0))


@pytest.mark.parametrize("hidden", [(), (5,), (16, 8)])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("spaces", [DISCRETE, BOX])
def test_shapes_and_one_pass_for_both(spaces: Spaces, shared: bool, hidden: tuple[int, ...]) -> None:
    network = ActorCritic(spaces, NetworkSettings(hidden=hidden, shared_trunk=shared), 0)
    observations = torch.randn(4, 3, 6)
    parameters, values = network.unroll(observations, (), None, 3)
    assert parameters.shape == (3, 3, 4)
    assert values.shape == (4, 3)
    torch.testing.assert_close(parameters, network.policy(observations[:-1]))
    torch.testing.assert_close(values, network.values(observations))


@pytest.mark.parametrize("shared", [False, True])
def test_separate_trunks_do_not_compete_shared_ones_do(shared: bool) -> None:
    network = ActorCritic(BOX, NetworkSettings(shared_trunk=shared), 0)
    network.values(torch.randn(5, 6)).sum().backward()
    assert (network.actor.hidden[0].weight.grad is not None) == shared


def test_a_value_sees_what_the_policy_remembers_and_teaches_it_nothing() -> None:
    network = RecurrentActorCritic(DISCRETE, NetworkSettings(core="gru"), 0)
    state, seen = torch.randn(3, 64), torch.randn(4, 3, 6)
    values = network.unroll(seen, state, None, 4).values
    assert not torch.allclose(values, network.unroll(seen, torch.zeros(3, 64), None, 4).values)
    values.sum().backward()
    assert {name.split(".")[0] for name, each in network.named_parameters() if each.grad is not None} == {"critic"}


@pytest.mark.parametrize(("activation", "function"), [("tanh", torch.tanh), ("relu", torch.relu)])
def test_layers_are_the_written_formula(activation: str, function) -> None:
    network = ActorCritic(DISCRETE, NetworkSettings(hidden=(7, 5), activation=activation), 3)
    observations = torch.randn(4, 6)
    expected = observations
    for layer in network.actor.hidden:
        expected = function(expected @ layer.weight.T + layer.bias)
    expected = expected @ network.actor.head.weight.T + network.actor.head.bias
    torch.testing.assert_close(network.policy(observations), expected)


def test_layers_are_normalised_before_their_activation() -> None:
    plain, network = (
        ActorCritic(DISCRETE, NetworkSettings(hidden=(7, 5), layer_norm=each), 3) for each in (False, True)
    )
    for layer, before in zip(network.actor.hidden, plain.actor.hidden, strict=True):
        assert torch.equal(layer.weight, before.weight)
        assert bool((layer.norm.weight == 1.0).all() & (layer.norm.bias == 0.0).all())
        with torch.no_grad():
            for each in (layer.norm.weight, layer.norm.bias, layer.bias):
                each.copy_(torch.randn(each.shape))
    network = network.double()  # torch replaces the numbers
    expected = observations = torch.randn(4, 6, dtype=torch.float64)
    for layer in network.actor.hidden:
        outputs = expected @ layer.weight.T + layer.bias
        variance, mean = torch.var_mean(outputs, -1, correction=0, keepdim=True)
        expected = torch.tanh((outputs - mean) / (variance + 1e-5).sqrt() * layer.norm.weight + layer.norm.bias)
    expected = expected @ network.actor.head.weight.T + network.actor.head.bias
    torch.testing.assert_close(network.policy(observations), expected)


def test_the_start_is_orthogonal_nearly_uniform_and_repeats() -> None:
    network, again, other = (ActorCritic(BOX, NetworkSettings(log_std=-0.5), seed) for seed in (1, 1, 2))
    weight = network.actor.hidden[1].weight
    torch.testing.assert_close(weight @ weight.T, 2 * torch.eye(64), atol=1e-5, rtol=0)
    parameters = network.policy(torch.randn(9, 6))
    assert parameters[:, :2].abs().max() < 0.1
    assert (parameters[:, 2:] == -0.5).all()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert not torch.equal(weight, other.actor.hidden[1].weight)
    assert not any(layer.bias.any() for layer in network.actor.hidden)
    assert network.critic.head.weight.norm().item() == pytest.approx(1.0, rel=1e-5)
    assert network.actor.hidden[0].weight.norm().item() == pytest.approx(math.sqrt(2 * 6), rel=1e-5)


def test_an_activation_that_is_not_known() -> None:
    with pytest.raises(ConfigError, match="expected one of tanh, relu, elu, got 'sigmoid'"):
        ActorCritic(BOX, NetworkSettings(activation="sigmoid"), 0)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "deviations"])
def test_by_hand_it_says_and_learns_the_same(spaces: Spaces, activation: str) -> None:
    network = ActorCritic(spaces, NetworkSettings(hidden=(16, 8), activation=activation), 0)
    flat = flatten(network)
    observations, slopes, value_slopes = torch.randn(20, 6), torch.randn(20, 4), torch.randn(20)
    outputs = network.unroll(observations, (), None, 20)
    torch.autograd.backward(list(outputs), [slopes, value_slopes])
    expected = flat.gradient.clone()
    flat.gradient.zero_()
    passed = network.by_hand(observations)
    assert passed is not None
    passed.backward(slopes, value_slopes)
    torch.testing.assert_close(flat.gradient, expected)
    passed.backward(slopes, value_slopes, scale=torch.tensor(2.0))
    torch.testing.assert_close(flat.gradient, 3 * expected)
    for mine, theirs in zip(passed.outputs, outputs, strict=True):
        torch.testing.assert_close(mine, theirs.detach())


@pytest.mark.parametrize(
    ("spaces", "settings"),
    [
        (DISCRETE, NetworkSettings(layer_norm=True)),
        (DISCRETE, NetworkSettings(activation="elu")),
        (DISCRETE, NetworkSettings(shared_trunk=True)),
    ],
    ids=["layer norm", "elu", "shared trunk"],
)
def test_other_networks_are_autograds(spaces: Spaces, settings: NetworkSettings) -> None:
    network = ActorCritic(spaces, settings, 0)
    flatten(network)
    assert network.by_hand(torch.randn(20, 6)) is None


def test_without_a_place_for_gradients_it_is_autograds() -> None:
    network = ActorCritic(DISCRETE, NetworkSettings(), 0)
    assert network.by_hand(torch.randn(20, 6)) is None
    flatten(network)
    assert network.by_hand(torch.randn(20, 6)) is not None
    assert network.by_hand(torch.randn(20, 3, 6)) is None
    assert network.by_hand(torch.randn(20, 6, device="meta")) is None


def test_deviations_that_do_not_learn_are_autograds() -> None:
    network = ActorCritic(BOX, NetworkSettings(), 0)
    flatten(network)
    assert network.by_hand(torch.randn(20, 6)) is not None
    network.log_std.requires_grad_(False)
    assert network.by_hand(torch.randn(20, 6)) is None
    network.log_std.requires_grad_()
    network.log_std.grad = None
    assert network.by_hand(torch.randn(20, 6)) is None
