import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.data.node.memory import NUM_VECTORS, node_memory
from marl.errors import ConfigError
from marl.processes.group import ProcessGroup
from marl.training.optimizers import (
    OPTIMIZERS,
    OptimizerSettings,
    can_go_on,
    fused_adam,
    make_optimizer,
    plain_adam,
)
from tests.process_targets import optimizes

SIZE, STEPS = 37, 60


def gradients() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(SIZE, generator=generator) * 10 ** (step % 5 - 3) for step in range(STEPS)]


def rates() -> list[float]:
    return [1e-2 * (1 - step / STEPS) for step in range(STEPS)]


def stepped(settings: OptimizerSettings) -> Tensor:
    """Weights after all gradients, from zero."""
    weights, state, count = torch.zeros(SIZE), torch.zeros(NUM_VECTORS, SIZE), torch.zeros(1)
    optimizer = make_optimizer(settings, state, count)
    for gradient, rate in zip(gradients(), rates(), strict=True):
        before = gradient.clone()
        optimizer.step(weights, gradient, rate)
        assert torch.equal(before, gradient)
    assert count.item() == STEPS
    return weights


def torchs(make: Callable[[list[Tensor]], torch.optim.Optimizer]) -> Tensor:
    """The same by an optimizer of torch's, in double precision."""
    weights = torch.zeros(SIZE, dtype=torch.float64, requires_grad=True)
    optimizer = make([weights])
    for gradient, rate in zip(gradients(), rates(), strict=True):
        weights.grad = gradient.double()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    return weights.detach()


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("apply", [fused_adam, plain_adam])
def test_adam_is_torchs(apply: Callable[..., None]) -> None:
    settings = OptimizerSettings(beta1=0.8, beta2=0.95, epsilon=1e-4)
    weights, mean, square, count = (*torch.zeros(3, SIZE).unbind(), torch.zeros(1))
    for gradient, rate in zip(gradients(), rates(), strict=True):
        count += 1
        apply(weights, gradient, mean, square, count, rate, settings)
    assert_equal(weights, torchs(lambda each: torch.optim.Adam(each, betas=(0.8, 0.95), eps=1e-4)))


def test_adam_by_its_name_is_torchs() -> None:
    assert_equal(stepped(OptimizerSettings("adam")), torchs(lambda each: torch.optim.Adam(each, eps=1e-5)))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torchs(momentum: float) -> None:
    theirs = torchs(lambda each: torch.optim.SGD(each, lr=1.0, momentum=momentum))
    assert_equal(stepped(OptimizerSettings("sgd", momentum=momentum)), theirs)


def test_rmsprop_is_the_papers() -> None:
    """g <- a g + (1 - a) d^2; w <- w - lr d / sqrt(g + eps), the epsilon inside the root."""
    weights, square = np.zeros(SIZE), np.zeros(SIZE)
    for gradient, rate in zip(gradients(), rates(), strict=True):
        d = gradient.double().numpy()
        square = 0.9 * square + (1 - 0.9) * d**2
        weights = weights - rate * d / np.sqrt(square + 0.1)
    assert_equal(stepped(OptimizerSettings("rmsprop", decay=0.9, epsilon=0.1)), torch.from_numpy(weights))


def test_first_steps_by_hand() -> None:
    """A gradient of 3 with rate 1: Adam moves by 1, RMSProp by 3 / sqrt(.01 * 9 + .16) = 6, SGD by 3."""
    expected = {"adam": 1.0, "rmsprop": 3 / math.sqrt(0.09 + 0.16), "sgd": 3.0}
    assert set(expected) == set(OPTIMIZERS)
    for name, distance in expected.items():
        weights = torch.zeros(1)
        settings = OptimizerSettings(name, epsilon=0.16 if name == "rmsprop" else 1e-8)
        make_optimizer(settings, torch.zeros(NUM_VECTORS, 1), torch.zeros(1)).step(weights, torch.tensor([3.0]), 1.0)
        assert -weights.item() == pytest.approx(distance, rel=1e-5)


def test_an_optimizer_that_is_not_known() -> None:
    with pytest.raises(ConfigError, match="expected one of adam, rmsprop, sgd, got 'adamw'"):
        make_optimizer(OptimizerSettings("adamw"), torch.zeros(NUM_VECTORS, 1), torch.zeros(1))


@pytest.mark.parametrize(
    "settings",
    [OptimizerSettings("adam"), OptimizerSettings("rmsprop"), OptimizerSettings("sgd", momentum=0.9)],
    ids=lambda settings: settings.name,
)
def test_every_piece_of_state_is_shared(settings: OptimizerSettings) -> None:
    """Two processes and this one take turns with the same gradient: it ends as if one had made all steps alone."""
    block = node_memory(num_weights=SIZE, num_parameters=SIZE, observation_size=1, workers=2)
    gradient = gradients()[0]
    here = make_optimizer(settings, block["optimizer"], block["optimizer_steps"])
    with ProcessGroup() as group:
        members = [group.start(f"optimizer {each}", optimizes, settings, block, gradient) for each in range(2)]
        for _ in range(3):
            for steps, member in enumerate(members, start=1):
                member.pipe.send(steps)
                assert member.pipe.recv() == "done"
            here.step(block["weights"], gradient, 0.01)
        for member in members:
            member.pipe.send(None)
    weights, state, count = torch.zeros(SIZE), torch.zeros(NUM_VECTORS, SIZE), torch.zeros(1)
    alone = make_optimizer(settings, state, count)
    for _ in range(3 * (1 + 2 + 1)):
        alone.step(weights, gradient, 0.01)
    assert block["optimizer_steps"].item() == count.item() == 12
    assert torch.equal(block["optimizer"], state)
    assert torch.equal(block["weights"], weights)
    assert weights.any()
    assert state.any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimizer_leaves_can_be_gone_on_from_and_no_roots_of_less(name: str) -> None:
    settings = OptimizerSettings(name, momentum=0.9)
    state, count = torch.zeros(NUM_VECTORS, SIZE), torch.zeros(1)
    optimizer = make_optimizer(settings, state, count)
    for gradient in gradients()[:3]:
        optimizer.step(torch.zeros(SIZE), gradient, 1e-3)
    assert can_go_on(settings, state, count)
    assert not can_go_on(settings, state, -count)
    squares = [bool(vector.any()) and bool((vector >= 0).all()) for vector in state]
    for vector, is_square in enumerate(squares):
        lowered = state.clone()
        lowered[vector, 0] = -1e-9
        assert can_go_on(settings, lowered, count) == (not is_square)
