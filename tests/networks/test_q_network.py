import pytest
import torch

from marl.errors import ConfigError
from marl.networks.q_network import ActionValues, QNetwork
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.plain_spaces import plain_spaces

DISCRETE = plain_spaces((2, 3), num_actions=4)
BOX = plain_spaces((6,), action_shape=(2,), action_low=(-1.0, -1.0), action_high=(1.0, 1.0))


def test_dueling_takes_each_states_own_mean() -> None:
    network = QNetwork(DISCRETE, NetworkSettings(), 0)
    with torch.no_grad():
        network.online.head.weight.normal_()
    observations = torch.randn(5, 3, 6)
    values, outputs = network.policy(observations), network.online(observations)
    assert values.shape == (5, 3, 4)
    for t in range(5):
        for b in range(3):
            value, *advantages = outputs[t, b].tolist()
            mean = sum(advantages) / 4
            expected = [value + advantage - mean for advantage in advantages]
            assert values[t, b].tolist() == pytest.approx(expected, abs=1e-5)


def test_without_dueling_the_outputs_are_the_values() -> None:
    network = QNetwork(DISCRETE, NetworkSettings(), 0, dueling=False)
    observations = torch.randn(5, 6)
    assert torch.equal(network.policy(observations), network.online(observations))
    assert network.policy(observations).shape == (5, 4)


def test_the_copy_stays_what_the_network_was() -> None:
    network = QNetwork(DISCRETE, NetworkSettings(), 0)
    observations = torch.randn(5, 6)
    before = network.policy(observations)
    assert torch.equal(network.target(observations), before)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 1.0
    assert torch.equal(network.target(observations), before)
    assert not torch.equal(network.policy(observations), before)


@pytest.mark.parametrize("dueling", [False, True])
def test_the_copy_lies_behind_the_parameters_in_their_order(dueling: bool) -> None:
    network = QNetwork(DISCRETE, NetworkSettings(hidden=(5, 3)), 0, dueling=dueling)
    flat = flatten(network)
    count = flat.gradient.numel()
    assert flat.weights.numel() == 2 * count
    observations = torch.randn(5, 6)
    flat.weights[:count].normal_()
    flat.weights[count:] = flat.weights[:count]
    assert torch.equal(network.target(observations), network.policy(observations))


def test_network_and_copy_follow_a_change_of_type() -> None:
    """For which torch makes new buffers, as it does for another device."""
    network = QNetwork(DISCRETE, NetworkSettings(), 0)
    with torch.no_grad():
        network.online.head.weight.normal_()
    observations = torch.randn(5, 6)
    expected = network.policy(observations), network.target(observations)
    network.double()
    found = network.policy(observations.double()), network.target(observations.double())
    for ours, before in zip(found, expected, strict=True):
        assert ours.dtype is torch.float64
        torch.testing.assert_close(ours, before.double(), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for buffer in network.buffers():
            buffer.zero_()
    assert not network.target(observations.double()).any()


def test_no_gradient_reaches_the_copy() -> None:
    network = QNetwork(DISCRETE, NetworkSettings(), 0)
    assert not network.target(torch.randn(5, 6)).requires_grad
    assert all(name.startswith("online.") for name, _ in network.named_parameters())


def test_continuous_actions_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs actions that are one category"):
        QNetwork(BOX, NetworkSettings(), 0)


def test_acting_on_values_is_taking_the_best() -> None:
    values, parameters = ActionValues(3), torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]])
    noise = values.noise((2,), torch.Generator())
    assert values.mode(parameters).tolist() == values.sample(parameters, noise).tolist() == [1, 0]
