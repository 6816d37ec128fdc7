from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from marl.networks.encoders.by_hand import DERIVED, Perceptron


def layers_of(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(sum(sizes))
    found = []
    for inputs, outputs in pairwise(sizes):
        weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5  # outputs of about 1, as trained ones
        bias = torch.randn(outputs, generator=generator)
        found.append((weight.requires_grad_(), bias.requires_grad_()))
    for each in (each for layer in found for each in layer):
        each.grad = torch.zeros_like(each)
    return found


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("sizes", [(5, 3), (5, 8, 1), (8, 64, 64, 4)], ids=str)
@pytest.mark.parametrize("activation", list(DERIVED), ids=lambda each: each.__name__)
def test_passes_are_those_of_autograd_in_float64(activation: object, sizes: tuple[int, ...], rows: int) -> None:
    perceptron = Perceptron(layers_of(*sizes), activation)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(rows)
    inputs, slopes = torch.randn(rows, sizes[0], generator=generator), torch.randn(rows, sizes[-1], generator=generator)
    literal = [tuple(each.detach().double().requires_grad_() for each in layer) for layer in perceptron.layers]
    expected = inputs.double()
    for number, (weight, bias) in enumerate(literal):
        expected = functional.linear(expected, weight, bias)
        expected = activation(expected) if number < len(literal) - 1 else expected  # type: ignore[operator]
    (expected * slopes).sum().backward()

    seen = perceptron.forward(inputs)
    perceptron.backward(seen, slopes)
    torch.testing.assert_close(seen[-1].double(), expected.detach(), rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(perceptron.layers, literal, strict=True):
        for each, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(each.grad.double(), other.grad, rtol=1e-5, atol=1e-4)
    assert not seen[-1].requires_grad


def test_gradients_add_up() -> None:
    perceptron = Perceptron(layers_of(5, 8, 2), torch.tanh)
    seen, slopes = perceptron.forward(torch.randn(3, 5)), torch.randn(3, 2)
    perceptron.backward(seen, slopes)
    once = [each.grad.clone() for layer in perceptron.layers for each in layer]
    perceptron.backward(seen, slopes)
    for each, grad in zip((each for layer in perceptron.layers for each in layer), once, strict=True):
        torch.testing.assert_close(each.grad, 2 * grad)


def test_it_learns_where_all_gradients_have_a_place() -> None:
    layers = layers_of(5, 8, 2)
    perceptron = Perceptron(layers, torch.tanh)
    assert perceptron.learns()
    layers[1][0].requires_grad_(False)
    assert not perceptron.learns()
    layers[1][0].requires_grad_()
    layers[0][1].grad = None
    assert not perceptron.learns()
