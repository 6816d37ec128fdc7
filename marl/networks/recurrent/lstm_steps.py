"""Long short-term memory over whole trajectories, with a gradient written by hand, as in ``gru_steps``."""

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

GATES = 4  # enter, forget, new, show
OPENED_FIRST = [0, 1, 3, 2]  # the order in which they lie here: those with a logistic function, then the new one


class LSTMSteps(torch.autograd.Function):
    """Features [S, B, H] of the gates' inputs [S, B, 4 H], one step after the other; see ``Gated``."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, hidden: Tensor, cells: Tensor, resets: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        kept, ctx.begins = (~resets).unsqueeze(-1).to(inputs.dtype), resets.any(1).tolist()
        features, *saved = _forward(inputs, hidden, cells, kept, ctx.begins, weight, bias)
        ctx.save_for_backward(*saved, kept, weight)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        before, cells_before, gates, squashed, kept, weight = ctx.saved_tensors
        enter, forget, show, new = gates.unbind(1)
        # Of each feature's slope to those of its cell and of a gate before its activation, and of its cell's.
        to_cells = show * (1.0 - squashed * squashed)
        closing = before.new_empty(*before.shape[:2], GATES, before.shape[2])
        torch.mul(new, enter * (1.0 - enter), out=closing[:, :, 0])
        torch.mul(cells_before, forget * (1.0 - forget), out=closing[:, :, 1])
        torch.mul(enter, 1.0 - new * new, out=closing[:, :, 2])
        torch.mul(squashed, show * (1.0 - show), out=closing[:, :, 3])
        back = _backward(slopes[0], closing, to_cells, forget * kept, kept, ctx.begins, weight)
        into = back.gates.flatten(2)
        return into, back.hidden, back.cells, None, *slopes_of_product(into, before)


class _Forward(NamedTuple):
    features: Tensor  # [S, B, H]
    before: Tensor  # [S, B, H]  the state before each step
    cells_before: Tensor  # [S, B, H]
    gates: Tensor  # [S, 4, B, H]  in the order of ``OPENED_FIRST``
    squashed: Tensor  # [S, B, H]  tanh of the cells


def _forward(
    inputs: Tensor,
    hidden: Tensor,
    cells: Tensor,
    kept: Tensor,
    begins: list[bool],
    weight: Tensor,
    bias: Tensor,
) -> _Forward:
    """``begins``: in which steps any row's episode does."""
    matrices = matrices_of(weight, GATES)[OPENED_FIRST]
    gates = by_gate(inputs + bias, GATES)[:, OPENED_FIRST].contiguous()
    matrices[:3] *= 0.5  # see ``open_gates``
    gates[:, :3] *= 0.5
    features = torch.empty_like(gates[:, 0], memory_format=torch.contiguous_format)
    all_cells, squashed, library = torch.empty_like(features), torch.empty_like(features), library_of(inputs)
    before, cells_before = [], []
    now, factor = hidden, for_gates(hidden, GATES)
    cell, held = cells, held_by(library, cells)
    tensors = zip(
        features.unbind(), for_gates(features, GATES).unbind(), all_cells.unbind(), gates.unbind(), kept.unbind(),
        strict=True,
    )  # fmt: skip
    arrays = zip(*(steps_of(library, each) for each in (features, all_cells, gates, squashed)), strict=True)
    for fresh, (after, next_factor, next_cell, sums, keep), (feature, kept_cell, gate, squash) in zip(
        begins, tensors, arrays, strict=True
    ):
        if fresh:
            now, cell = now * keep, cell * keep
            factor, held = for_gates(now, GATES), held_by(library, cell)
        before.append(now)
        cells_before.append(cell)
        torch.baddbmm(sums, factor, matrices, out=sums)
        open_gates(library, gate[:3])
        enter, forget, show, new = gate
        library.tanh(new, out=new)
        library.multiply(enter, new, out=squash)
        library.multiply(forget, held, out=kept_cell)
        library.add(kept_cell, squash, out=kept_cell)
        library.tanh(kept_cell, out=squash)
        library.multiply(show, squash, out=feature)
        now, factor, cell, held = after, next_factor, next_cell, kept_cell
    return _Forward(features, torch.stack(before), torch.stack(cells_before), gates, squashed)


class _Backward(NamedTuple):
    gates: Tensor  # [S, B, 4, H]  slopes of each gate, before its activation
    hidden: Tensor  # [B, H]
    cells: Tensor  # [B, H]


def _backward(
    slopes: Tensor,
    closing: Tensor,
    to_cells: Tensor,
    to_cells_before: Tensor,
    kept: Tensor,
    begins: list[bool],
    weight: Tensor,
) -> _Backward:
    """``closing`` [S, B, 4, H]: of the slopes of cells, for the last gate of features, to that of a gate."""
    gates, slope, cells_slope = torch.empty_like(closing), torch.zeros_like(slopes[0]), torch.zeros_like(slopes[0])
    total, cells_total, library = slope.clone(), slope.clone(), library_of(slopes)
    held, cells_held, sum_, cells_sum = (held_by(library, each) for each in (slope, cells_slope, total, cells_total))
    for_each = held_by(library, cells_total.unsqueeze(1))
    tensors = zip(gates.flatten(2).unbind(), kept.unbind(), strict=True)
    arrays = zip(
        *(steps_of(library, each) for each in (slopes, closing, gates, to_cells, to_cells_before)), strict=True
    )
    steps = list(zip(begins, tensors, arrays, strict=True))
    for fresh, (passed, keep), (arrives, close, gate, to_cell, to_cell_before) in reversed(steps):
        library.add(arrives, held, out=sum_)
        library.multiply(sum_, to_cell, out=cells_sum)
        library.add(cells_sum, cells_held, out=cells_sum)
        library.multiply(for_each, close[:, :3], out=gate[:, :3])
        library.multiply(sum_, close[:, 3], out=gate[:, 3])
        library.multiply(cells_sum, to_cell_before, out=cells_held)
        torch.mm(passed, weight, out=slope)
        if fresh:
            slope *= keep
    return _Backward(gates, slope, cells_slope)
