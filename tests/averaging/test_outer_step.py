"""The outer step against SGD itself, by hand, and the identity that makes it plain averaging."""

import math

import pytest
import torch

from marl.averaging.outer_step import outer_adam, outer_step
from marl.averaging.tiles import TILE


def numbers(size: int, seed: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def test_plain_averaging_to_the_bit() -> None:
    """Signed zeros, denormals and huge numbers too."""
    mean = torch.cat([numbers(1000, 1), torch.tensor([-0.0, 0.0, 1e-45, -1e-40, 3e38, -3e38])])
    bits = mean.clone().view(torch.int32)
    base = torch.full_like(mean, -3e38)
    assert torch.equal(outer_step(base, mean, None, lr=1, momentum=0).view(torch.int32), bits)
    assert torch.equal(outer_step(base, mean, torch.zeros_like(mean), lr=1.0, momentum=0.0).view(torch.int32), bits)


def test_by_hand() -> None:
    base, mean, velocity = torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([4.0])
    # d = -2; v = .5 * 4 - 2 = 0; next = 3 + .25 * -2 - 0
    assert outer_step(base, mean, velocity, lr=0.75, momentum=0.5).tolist() == [2.5]
    assert velocity.tolist() == [0.0]


@pytest.mark.parametrize(("lr", "momentum"), [(0.7, 0.9), (1.0, 0.9), (0.7, 0.0), (1.5, 0.0), (2.0, 0.3)])
def test_it_is_nesterov_sgd(lr: float, momentum: float) -> None:
    """torch's own optimizer, in float64, on the outer gradient, over ten rounds and two tiles."""
    size = TILE + 5
    base, velocity = numbers(size, 0), torch.zeros(size)
    reference = torch.nn.Parameter(base.double())
    sgd = torch.optim.SGD([reference], lr=lr, momentum=momentum, nesterov=momentum > 0)
    for round_number in range(10):
        delta = numbers(size, round_number + 1) * 0.1
        reference.grad = -delta.double()
        sgd.step()
        base = outer_step(base, base + delta, velocity, lr=lr, momentum=momentum)
    assert torch.allclose(base.double(), reference.detach(), rtol=1e-5, atol=1e-5)


def test_momentum_needs_a_memory() -> None:
    with pytest.raises(ValueError, match="velocity"):
        outer_step(torch.zeros(2), torch.ones(2), None, lr=1, momentum=0.9)


def test_without_momentum_it_needs_none() -> None:
    assert outer_step(torch.zeros(2), torch.ones(2), None, lr=0.5, momentum=0).tolist() == [0.5, 0.5]
    assert math.isclose(float(outer_step(torch.zeros(1), torch.ones(1), None, lr=2, momentum=0)), 2.0)


def test_adam_is_algorithm_2_of_the_paper() -> None:
    """Written again in float64, over ten rounds and two tiles."""
    size, rate, beta1, beta2, tau = TILE + 5, 0.01, 0.9, 0.99, 1e-3
    base, velocity, square = numbers(size, 0), torch.zeros(size), torch.full((size,), tau**2)
    x, m, v = base.double(), torch.zeros(size).double(), torch.full((size,), tau**2).double()
    for round_number in range(10):
        delta = numbers(size, round_number + 1) * 0.1
        m = beta1 * m + (1 - beta1) * delta.double()
        v = beta2 * v + (1 - beta2) * delta.double() ** 2
        x = x + rate * m / (v.sqrt() + tau)
        mean = base + delta
        base = outer_adam(
            base, mean, velocity, square, lr=rate, beta1=beta1, beta2=beta2, epsilon=tau
        )  # fmt: skip
        assert base is mean
    assert torch.allclose(base.double(), x, rtol=0, atol=1e-5)


def test_adam_by_hand() -> None:
    base, mean, velocity, square = (torch.tensor([each]) for each in (1.0, 3.0, 4.0, 8.0))
    # d = -2; v = .5 * 4 + .5 * -2 = 1; s = d d = 4; next = 1 - .5 * 1 / (2 + 2)
    assert outer_adam(base, mean, velocity, square, lr=0.5, beta1=0.5, beta2=0.0, epsilon=2.0).tolist() == [0.875]
    assert (base.tolist(), velocity.tolist(), square.tolist()) == ([1.0], [1.0], [4.0])
