"""A gated recurrent unit over whole trajectories, with a gradient written by hand.

Torch's own operation would take some ten operations a step to go back through time. By hand it is four: whatever does
not depend on the gradient that arrives is computed for all steps at once.

A step of a small core is a few operations on a few hundred numbers each. Torch takes longer to start one of them than
to compute it; numpy starts it in a third of the time, and its tanh is several times as fast. Where numpy cannot reach
the memory, torch has the same functions under the same names.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GATES = 3  # reset, update, new

tanh_slopes = torch.ops.aten.tanh_backward  # of slopes and tanh(x): slopes (1 - tanh(x)^2)
open_slopes = torch.ops.aten.sigmoid_backward.grad_input  # likewise for the logistic function; ``grad_input``: where to


class GRUSteps(torch.autograd.Function):
    """Features [S, B, H] of the gates' inputs [S, B, 3 H], one step after the other; see ``Gated``."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, state: Tensor, resets: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        kept, ctx.begins = (~resets).unsqueeze(-1).to(inputs.dtype), resets.any(1).tolist()
        states, *saved = _forward(inputs, state, kept, ctx.begins, weight, bias)
        before = states[:-1] * kept if any(ctx.begins) else states[:-1]
        ctx.save_for_backward(before, *saved, kept, weight)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        before, gates, new, kept, weight = ctx.saved_tensors
        reset, update, remembered = gates.unbind(1)
        # Of each feature's slope to that of a gate, before its activation.
        to_new = tanh_slopes(1.0 - update, new)
        closing = before.new_empty(*before.shape[:2], GATES, before.shape[2])
        open_slopes(to_new * remembered, reset, grad_input=closing[:, :, 0])
        open_slopes(before - new, update, grad_input=closing[:, :, 1])
        torch.mul(to_new, reset, out=closing[:, :, 2])  # of what the new gate gets of the state
        arrived, slope = _backward(slopes[0], closing, update, kept, ctx.begins, weight)
        rows = closing.flatten(2).flatten(0, 1)
        of_weight, of_bias = rows.T @ before.flatten(0, 1), rows.sum(0)
        torch.mul(arrived, to_new, out=closing[:, :, 2])  # of what it gets of the inputs
        return closing.flatten(2), slope, None, of_weight, of_bias


class _Forward(NamedTuple):
    states: Tensor  # [S + 1, B, H]  before the first step and after each
    gates: Tensor  # [S, 3, B, H]  reset, update, and what the new one gets of the state
    new: Tensor  # [S, B, H]


def _forward(inputs: Tensor, state: Tensor, kept: Tensor, begins: list[bool], weight: Tensor, bias: Tensor) -> _Forward:
    """``begins``: in which steps any row's episode does."""
    steps, (rows, size), library = len(inputs), state.shape, library_of(inputs)
    into, added = inputs.view(steps, rows, GATES, size).transpose(1, 2), bias.view(GATES, 1, size)
    matrices = weight.view(GATES, size, size).mT.contiguous()  # of each gate's product
    gates, new, states = into.new_empty(into.shape), into[:, 2].contiguous(), into.new_empty(steps + 1, rows, size)
    torch.add(into[:, :2], added[:2], out=gates[:, :2])
    gates[:, 2] = added[2]
    states[0] = state
    tensors = zip(_factor(states[:-1]).unbind(), gates.unbind(), gates[:, :2].unbind(), strict=True)
    held = _steps_of(library, states)
    arrays = zip(held, held[1:], _steps_of(library, gates), _steps_of(library, new), strict=False)
    for step, ((factor, sums, opened), (before, feature, gate, mixed)) in enumerate(zip(tensors, arrays, strict=True)):
        if begins[step]:
            renewed = states[step] * kept[step]
            factor, before = _factor(renewed), renewed.numpy() if library is np else renewed
        torch.baddbmm(sums, factor, matrices, out=sums)
        opened.sigmoid_()
        reset, update, remembered = gate
        library.multiply(reset, remembered, out=feature)
        library.add(mixed, feature, out=mixed)
        library.tanh(mixed, out=mixed)
        library.subtract(before, mixed, out=feature)
        library.multiply(feature, update, out=feature)
        library.add(feature, mixed, out=feature)
    return _Forward(states, gates, new)


def _backward(
    slopes: Tensor, closing: Tensor, update: Tensor, kept: Tensor, begins: list[bool], weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Slopes of each step's feature [S, B, H] and of the state before the first [B, H].

    ``closing`` [S, B, 3, H] is of each feature's slope to that of a gate before its activation, and becomes that.
    """
    arrived, slope, library = slopes.clone(), torch.zeros_like(slopes[0]), library_of(slopes)
    held = slope.numpy() if library is np else slope
    arrays = (_steps_of(library, each) for each in (arrived, arrived.unsqueeze(2), closing, update))
    steps = list(zip(begins, kept.unbind(), closing.flatten(2).unbind(), *arrays, strict=True))
    for fresh, keep, passed, total, for_each, gate, open_ in reversed(steps):
        library.add(total, held, out=total)
        library.multiply(gate, for_each, out=gate)
        library.multiply(total, open_, out=held)
        torch.addmm(slope, passed, weight, out=slope)
        if fresh:
            slope *= keep
    return arrived, slope


def library_of(tensor: Tensor) -> Any:
    """Numpy, or torch for tensors on another device or of a type that numpy lacks."""
    return np if tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) else torch


def _steps_of(library: Any, tensor: Tensor) -> tuple[Any, ...]:
    """A tensor [S, ...] as the library's arrays [...], on its memory."""
    return tuple(tensor.numpy()) if library is np else tensor.unbind()


def _factor(states: Tensor) -> Tensor:
    """States [..., B, H] as [..., 3, B, H], on the same memory: a factor of each gate's product."""
    return states.unsqueeze(-3).expand(*states.shape[:-2], GATES, *states.shape[-2:])
