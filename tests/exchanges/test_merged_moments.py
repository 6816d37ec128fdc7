"""The mean of moments at the parent, weighted by work."""

import pytest
import torch

from marl.exchanges.merging.moments import MergedMoments, largest_step
from marl.training.optimizers import OptimizerSettings, moments_of
from marl.wire.message import Kind, Message

SIZE = 5


def uploaded(*rows: list[float], steps: int = 1) -> Message:
    arrays = {"optimizer": torch.tensor(rows)}
    return Message(Kind.UPLOAD, "a", 0, 0, 1, arrays, {"optimizer_steps": steps})


def made(which: str = "second", name: str = "adam") -> MergedMoments:
    moments = moments_of(OptimizerSettings(name=name), which)
    return MergedMoments(moments, SIZE, aggregate="mean", clip=10.0, longest_gradient=10.0)


def test_the_mean_is_weighted_and_the_counter_is_the_lower_middle_one() -> None:
    merged = made()
    for child, value, weight, steps in (("a", 1.0, 30, 7), ("b", 3.0, 10, 5), ("c", 5.0, 40, 100), ("d", 4.0, 20, 9)):
        merged.add(child, merged.check(uploaded([value] * SIZE, steps=steps)), weight)
    mean = merged.close()
    assert mean is not None
    torch.testing.assert_close(mean.vectors, torch.full((1, SIZE), (30 + 30 + 200 + 80) / 100))
    assert mean.steps == 7
    merged.begin()
    assert merged.close() is mean  # no uploads: the last one


def test_a_counter_that_cannot_be_is_no_larger_than_a_float_counts() -> None:
    assert made().check(uploaded([1.0] * SIZE, steps=2**63 - 1)).steps == 2**24  # children send it back as it is


def test_which_moments_an_optimizer_has() -> None:
    rows = {
        (name, which): [each.row for each in moments_of(OptimizerSettings(name=name), which)]
        for name in ("adam", "rmsprop", "sgd")
        for which in ("own", "second", "all")
    }
    assert rows == {
        ("adam", "own"): [], ("adam", "second"): [1], ("adam", "all"): [0, 1],
        ("rmsprop", "own"): [], ("rmsprop", "second"): [0], ("rmsprop", "all"): [0],
        ("sgd", "own"): [], ("sgd", "second"): [], ("sgd", "all"): [0],
    }  # fmt: skip


def test_a_mean_gradient_without_a_square_is_taken_out() -> None:
    """Adam would divide it by nothing but epsilon."""
    merged = made("all")
    merged.add("a", merged.check(uploaded([2.0] * SIZE, [0.0, 0.0, 1.0, 1.0, 1.0])), 1)
    mean = merged.close()
    assert mean is not None
    assert mean.vectors[0].tolist() == [0.0, 0.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.99, 0.99)])
def test_no_gradients_make_a_larger_step_of_adam(betas: tuple[float, float]) -> None:
    """The worst ones grow by beta1 / beta2 each time, then the bound is met."""
    first = second = 0.0
    for step in range(400):
        gradient = (betas[1] / betas[0]) ** (step - 400)
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
    assert 0 < first / second**0.5 <= largest_step(*betas) * 1.0001
