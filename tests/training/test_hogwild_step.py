import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.base import Loss
from marl.training.flat import Flat, flatten
from marl.training.learned_weights import hogwild_step


class Recorder:
    """An optimizer that only remembers, and checks what it is given."""

    def __init__(self) -> None:
        self.gradients: list[list[float]] = []
        self.rates: list[float] = []

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        assert weights.shape == gradient.shape
        self.gradients.append(gradient.tolist())
        self.rates.append(learning_rate)
        weights -= learning_rate * gradient


class Vector(nn.Module):
    """Weights of 3 and 4, and a buffer that takes no gradient."""

    def __init__(self, buffer: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, 4.0]))
        if buffer:
            self.register_buffer("mean", torch.tensor([7.0]))


def loss(total: Tensor) -> Loss:
    return Loss(total, {})


@pytest.fixture
def network() -> Vector:
    return Vector()


@pytest.fixture
def local(network: Vector) -> Flat:
    return flatten(network)


def test_local_gradient_moves_shared_weights(network: Vector, local: Flat) -> None:
    shared, optimizer = torch.tensor([10.0, 20.0]), Recorder()
    norm = hogwild_step(shared, local, optimizer, loss(network.weight.square().sum() / 2), 0.5, 100.0)
    assert norm == 5.0
    assert optimizer.gradients == [[3.0, 4.0]]
    assert optimizer.rates == [0.5]
    assert shared.tolist() == [8.5, 18.0]
    assert local.weights.tolist() == [3.0, 4.0]


def test_the_gradient_of_before_is_forgotten(network: Vector, local: Flat) -> None:
    optimizer = Recorder()
    for _ in range(2):
        hogwild_step(torch.zeros(2), local, optimizer, loss(network.weight.square().sum() / 2), 0.5, 100.0)
    assert optimizer.gradients == [[3.0, 4.0]] * 2


@pytest.mark.parametrize(("limit", "expected"), [(1.0, [0.6, 0.8]), (5.0, [3.0, 4.0])])
def test_a_longer_gradient_is_cut_to_the_limit(
    network: Vector, local: Flat, limit: float, expected: list[float]
) -> None:
    """In its own direction; the norm told is that of before."""
    optimizer = Recorder()
    assert hogwild_step(torch.zeros(2), local, optimizer, loss(network.weight.square().sum() / 2), 1.0, limit) == 5.0
    assert optimizer.gradients[0] == pytest.approx(expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_gradient_that_is_not_finite_is_skipped(network: Vector, local: Flat, bad: float) -> None:
    shared, optimizer = torch.tensor([10.0, 20.0]), Recorder()
    norm = hogwild_step(shared, local, optimizer, loss((network.weight * torch.tensor([1.0, bad])).sum()), 0.5, 1.0)
    assert not norm < float("inf")
    assert optimizer.gradients == []
    assert shared.tolist() == [10.0, 20.0]
    hogwild_step(shared, local, optimizer, loss(network.weight.square().sum() / 2), 0.5, 100.0)  # and it goes on
    assert optimizer.gradients == [[3.0, 4.0]]


def test_buffers_among_the_weights_take_no_gradient() -> None:
    network = Vector(buffer=True)
    local = flatten(network)
    shared = local.weights.clone()
    hogwild_step(shared, local, Recorder(), loss(network.weight.square().sum() / 2), 1.0, 100.0)
    assert shared.tolist() == [0.0, 0.0, 7.0]
