"""A gated recurrent unit over whole trajectories, with a gradient written by hand.

Torch would take some ten operations a step to go back through time. By hand it is four: whatever does not depend on the
gradient that arrives is computed for all steps at once.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marl.networks.recurrent.elementwise import (
    by_gate,
    for_gates,
    held_by,
    library_of,
    matrices_of,
    open_gates,
    slopes_of_product,
    steps_of,
)

GATES = 3  # reset, update, new


class GRUSteps(torch.autograd.Function):
    """Features [S, B, H] of the gates' inputs [S, B, 3 H], one step after the other; see ``Gated``."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, state: Tensor, resets: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        kept, ctx.begins = (~resets).unsqueeze(-1).to(inputs.dtype), resets.any(1).tolist()
        features, *saved = _forward(inputs, state, kept, ctx.begins, weight, bias)
        ctx.save_for_backward(*saved, kept, weight)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        before, gates, new, kept, weight = ctx.saved_tensors
        reset, update, remembered = gates.unbind(1)
        # Of each feature's slope to that of a gate, before its activation.
        to_new = (1.0 - update) * (1.0 - new * new)
        closing = before.new_empty(*before.shape[:2], GATES, before.shape[2])
        torch.mul(to_new * remembered, reset * (1.0 - reset), out=closing[:, :, 0])
        torch.mul(before - new, update * (1.0 - update), out=closing[:, :, 1])
        torch.mul(to_new, reset, out=closing[:, :, 2])  # of what the new gate gets of the state
        arrived, into, slope = _backward(slopes[0], closing, update.contiguous(), kept, ctx.begins, weight)
        of_weight, of_bias = slopes_of_product(into.flatten(2), before)
        torch.mul(arrived, to_new, out=into[:, :, 2])  # of what it gets of the inputs
        return into.flatten(2), slope, None, of_weight, of_bias


class _Forward(NamedTuple):
    features: Tensor  # [S, B, H]
    before: Tensor  # [S, B, H]  the state before each step
    gates: Tensor  # [S, 3, B, H]  reset, update, and what the new one gets of the state
    new: Tensor  # [S, B, H]


def _forward(inputs: Tensor, state: Tensor, kept: Tensor, begins: list[bool], weight: Tensor, bias: Tensor) -> _Forward:
    """``begins``: in which steps any row's episode does."""
    into, matrices, added = by_gate(inputs, GATES), matrices_of(weight, GATES), bias.view(GATES, 1, -1)
    matrices[:2] *= 0.5  # see ``open_gates``
    gates, new = torch.empty_like(into, memory_format=torch.contiguous_format), into[:, 2].contiguous()
    torch.add(into[:, :2], added[:2], out=gates[:, :2]).mul_(0.5)
    gates[:, 2] = added[2]
    features, before, library = torch.empty_like(new), [], library_of(inputs)
    now, factor, held = state, for_gates(state, GATES), held_by(library, state)
    tensors = zip(features.unbind(), for_gates(features, GATES).unbind(), gates.unbind(), kept.unbind(), strict=True)
    arrays = zip(*(steps_of(library, each) for each in (features, gates, new)), strict=True)
    for fresh, (after, next_factor, sums, keep), (feature, gate, mixed) in zip(begins, tensors, arrays, strict=True):
        if fresh:
            now = now * keep
            factor, held = for_gates(now, GATES), held_by(library, now)
        before.append(now)
        torch.baddbmm(sums, factor, matrices, out=sums)
        open_gates(library, gate[:2])
        reset, update, remembered = gate
        library.multiply(reset, remembered, out=feature)
        library.add(mixed, feature, out=mixed)
        library.tanh(mixed, out=mixed)
        library.subtract(held, mixed, out=feature)
        library.multiply(feature, update, out=feature)
        library.add(feature, mixed, out=feature)
        now, factor, held = after, next_factor, feature
    return _Forward(features, torch.stack(before), gates, new)


class _Backward(NamedTuple):
    arrived: Tensor  # [S, B, H]  slopes of each step's feature
    gates: Tensor  # [S, B, 3, H]  of each gate, before its activation
    state: Tensor  # [B, H]


def _backward(
    slopes: Tensor, closing: Tensor, update: Tensor, kept: Tensor, begins: list[bool], weight: Tensor
) -> _Backward:
    """``closing`` [S, B, 3, H]: of each feature's slope to that of a gate."""
    arrived, gates, slope = slopes.clone(), torch.empty_like(closing), torch.zeros_like(slopes[0])
    library = library_of(slopes)
    held = held_by(library, slope)
    whole = arrived.unsqueeze(2)
    tensors = zip(gates.flatten(2).unbind(), kept.unbind(), strict=True)
    arrays = zip(*(steps_of(library, each) for each in (arrived, whole, closing, gates, update)), strict=True)
    steps = list(zip(begins, tensors, arrays, strict=True))
    for fresh, (passed, keep), (total, for_each, close, gate, open_) in reversed(steps):
        library.add(total, held, out=total)
        library.multiply(for_each, close, out=gate)
        library.multiply(total, open_, out=held)
        torch.addmm(slope, passed, weight, out=slope)
        if fresh:
            slope *= keep
    return _Backward(arrived, gates, slope)
