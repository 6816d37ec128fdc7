import copy

import pytest
import torch
from torch import nn

from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.plain_spaces import plain_spaces

BOX = plain_spaces((4,), action_shape=(2,), action_low=(-1.0, -1.0), action_high=(1.0, 1.0))


class Tied(nn.Module):
    """One weight used twice, a float buffer and an integer one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("mean", torch.tensor([7.0, 8.0]))
        self.register_buffer("count", torch.tensor(5))


@pytest.mark.parametrize("shared", [False, True])
def test_the_same_network_after_as_before(shared: bool) -> None:
    network = ActorCritic(BOX, NetworkSettings(hidden=(8, 8), shared_trunk=shared), 0)
    plain, observations = copy.deepcopy(network), torch.randn(6, 4)
    flat = flatten(network)
    assert torch.equal(network.policy(observations), plain.policy(observations))
    assert torch.equal(torch.cat([each.detach().ravel() for each in plain.parameters()]), flat.weights)


def test_weights_and_gradients_are_views() -> None:
    network = ActorCritic(BOX, NetworkSettings(hidden=(8,)), 0)
    plain = copy.deepcopy(network)
    flat, observations = flatten(network), torch.randn(6, 4)
    for each in (network, plain):
        (each.policy(observations).square().sum() + each.values(observations).square().sum()).backward()
    torch.testing.assert_close(torch.cat([each.grad.ravel() for each in plain.parameters()]), flat.gradient)
    flat.weights.zero_()
    assert not any(each.any() for each in network.parameters())
    assert not network.policy(observations).any()  # what computes sees it too


def test_tied_weights_once_and_float_buffers_last() -> None:
    network = Tied()
    flat = flatten(network)
    assert flat.gradient.numel() == 9 + 3 + 3
    assert flat.weights.numel() == 9 + 3 + 3 + 2
    assert flat.num_bytes() == 4 * 17
    assert flat.weights[-2:].tolist() == [7.0, 8.0]
    flat.weights[-1] = 9.0
    assert network.mean.tolist() == [7.0, 9.0]
    assert network.count.item() == 5
    network.second(network.first(torch.ones(3))).sum().backward()
    assert network.first.weight.data_ptr() == network.second.weight.data_ptr() == flat.weights.data_ptr()
    assert flat.gradient[:9].any()
