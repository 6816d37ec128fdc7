"""Built-in recurrent cores, with the equations and the gates' order of ``torch.nn.GRUCell`` and ``torch.nn.LSTMCell``.

GRU: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014). LSTM: Hochreiter and Schmidhuber,
"Long Short-Term Memory" (1997), with the forget gate of Gers et al., "Learning to Forget" (2000).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from marl.networks.contract import State
from marl.networks.heads import Linear
from marl.networks.kept_tensors import KeepsTensors


class Gated(KeepsTensors):
    """A core whose gates are linear in its features and in what it remembers. Its initial state is zero."""

    num_gates: int

    def __init__(self, features: int, size: int, generator: torch.Generator) -> None:
        """Each gate's two matrices begin orthogonal."""
        super().__init__()
        self.size = size
        self.inputs = Linear(features, self.num_gates * size)
        self.recurrent = Linear(size, self.num_gates * size)
        with torch.no_grad():
            for layer in (self.inputs, self.recurrent):
                for gate in layer.weight.chunk(self.num_gates):
                    nn.init.orthogonal_(gate, generator=generator)
        self.relist()

    def unroll(self, features: Tensor, state: State, resets: Tensor) -> Tensor:
        """Features [S, B, size] of features [S, B, F], one step after the other; see ``Policy.unroll``.

        The inputs of all steps are one product, so that each step has only the recurrent product left.
        """
        weight, bias, *_ = self._listed
        inputs = functional.linear(features, weight, bias)
        kept = (~resets).unsqueeze(-1).to(features.dtype)
        return self._passed(inputs, state, kept)

    def _passed(self, inputs: Tensor, state: State, kept: Tensor) -> Tensor:
        """Features [S, B, size] of the gates' inputs [S, B, num_gates size].

        Args:
            kept: [S, B, 1]  0 where an episode begins, 1 elsewhere.
        """
        raise NotImplementedError

    def relist(self) -> None:
        """See ``KeepsTensors``."""
        self._listed = self.inputs.weight, self.inputs.bias, self.recurrent.weight, self.recurrent.bias


class GRU(Gated):
    """The state is the features that it made last [B, size]."""

    num_gates = 3

    def initial_state(self, rows: int) -> State:
        """See ``Core``."""
        return torch.zeros(rows, self.size)

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See ``Core``."""
        weight, bias, recurrent, recurrent_bias = self._listed
        state = torch.gru_cell(features, state, weight, recurrent, bias, recurrent_bias)
        return state, state

    def _passed(self, inputs: Tensor, state: State, kept: Tensor) -> Tensor:
        _, _, weight, bias = self._listed
        return _GRUSteps.apply(inputs, state, kept, weight, bias)  # type: ignore[no-untyped-call, no-any-return]


class LSTM(Gated):
    """The state is the features that it made last, and its cells, [B, size] each."""

    num_gates = 4

    def __init__(self, features: int, size: int, generator: torch.Generator) -> None:
        """Forget gates begin open (Jozefowicz et al., "An Empirical Exploration of Recurrent Network Architectures",
        2015).
        """
        super().__init__(features, size, generator)
        with torch.no_grad():
            self.inputs.bias[size : 2 * size] = 1.0

    def initial_state(self, rows: int) -> State:
        """See ``Core``."""
        return torch.zeros(rows, self.size), torch.zeros(rows, self.size)

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See ``Core``."""
        weight, bias, recurrent, recurrent_bias = self._listed
        state = torch.lstm_cell(features, state, weight, recurrent, bias, recurrent_bias)
        return state[0], state

    def _passed(self, inputs: Tensor, state: State, kept: Tensor) -> Tensor:
        _, _, weight, bias = self._listed
        return _LSTMSteps.apply(inputs, *state, kept, weight, bias)  # type: ignore[no-untyped-call, no-any-return]


# Torch would take some ten operations a step to go back through time, and its own bookkeeping is most of their time. By
# hand it is four or six: whatever does not depend on the gradient that arrives is computed for all steps at once.


class _GRUSteps(torch.autograd.Function):
    """Features [S, B, H] of the gates' inputs [S, B, 3 H], one step after the other; see ``Gated._passed``."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, state: Tensor, kept: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size = state.shape[-1]
        both = 2 * size  # gates: reset and update
        before, remembered_new, gates, new, found = [], [], [], [], []
        for now, keep in zip(inputs.unbind(), kept.unbind(), strict=True):
            state = state * keep
            before.append(state)
            remembered = functional.linear(state, weight, bias)
            gates.append(torch.sigmoid(now[:, :both] + remembered[:, :both]))
            reset, update = gates[-1].chunk(2, -1)
            remembered_new.append(remembered[:, both:])
            new.append(torch.tanh(torch.addcmul(now[:, both:], reset, remembered[:, both:])))
            state = torch.lerp(new[-1], state, update)
            found.append(state)
        features = torch.stack(found)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*map(torch.stack, (before, remembered_new, gates, new)), kept, weight)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        before, remembered_new, gates, new, kept, weight = ctx.saved_tensors
        reset, update = gates.chunk(2, -1)
        to_new = (1.0 - update) * (1.0 - new * new)  # of each feature's slope to that of a gate, before its activation
        to_reset = to_new * remembered_new * reset * (1.0 - reset)
        to_update = (before - new) * update * (1.0 - update)
        to_remembered = torch.stack([to_reset, to_update, to_new * reset], 2)  # [S, B, 3, H]
        slope, arrived, passed = torch.zeros_like(before[0]), [], []
        for step in range(len(before) - 1, -1, -1):
            total = slopes[0][step] + slope
            arrived.append(total)
            passed.append((total.unsqueeze(1) * to_remembered[step]).flatten(1))
            slope = torch.addmm(total * update[step], passed[-1], weight) * kept[step]
        arriving = torch.stack(arrived[::-1]).unsqueeze(2)
        into = torch.stack([to_reset, to_update, to_new], 2).mul_(arriving).flatten(2)
        return into, slope, None, *_of_product(torch.stack(passed[::-1]), before)


class _LSTMSteps(torch.autograd.Function):
    """Features [S, B, H] of the gates' inputs [S, B, 4 H], one step after the other; see ``Gated._passed``."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, hidden: Tensor, cells: Tensor, kept: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        size = hidden.shape[-1]
        before, cells_before, gates, squashed, found = [], [], [], [], []
        for now, keep in zip((inputs + bias).unbind(), kept.unbind(), strict=True):
            before.append(hidden * keep)
            cells_before.append(cells * keep)
            sums = torch.addmm(now, before[-1], weight.T)
            open_, new = torch.sigmoid(sums), torch.tanh(sums[:, 2 * size : 3 * size])
            open_[:, 2 * size : 3 * size] = new
            enter, forget, _, show = open_.chunk(4, -1)
            gates.append(open_)
            cells = torch.addcmul(forget * cells_before[-1], enter, new)
            squashed.append(torch.tanh(cells))
            hidden = show * squashed[-1]
            found.append(hidden)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*map(torch.stack, (before, cells_before, gates, squashed)), kept, weight)
        return torch.stack(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        before, cells_before, gates, squashed, kept, weight = ctx.saved_tensors
        enter, forget, new, show = gates.chunk(4, -1)
        to_show = squashed * show * (1.0 - show)  # of each feature's slope to that of a gate, before its activation
        to_cells = show * (1.0 - squashed * squashed)
        closing = [new * enter * (1.0 - enter), cells_before * forget * (1.0 - forget), enter * (1.0 - new * new)]
        to_others, to_cells_before = torch.stack(closing, 2), forget * kept  # [S, B, 3, H]; [S, B, H]
        slope = cells_slope = torch.zeros_like(before[0])
        passed = torch.empty(*gates.shape[:2], 4, before.shape[-1], dtype=gates.dtype, device=gates.device)
        for step in range(len(before) - 1, -1, -1):
            total = slopes[0][step] + slope
            cells_total = torch.addcmul(cells_slope, total, to_cells[step])
            torch.mul(cells_total.unsqueeze(1), to_others[step], out=passed[step, :, :3])
            torch.mul(total, to_show[step], out=passed[step, :, 3])
            slope = (passed[step].flatten(1) @ weight) * kept[step]
            cells_slope = cells_total * to_cells_before[step]
        flat = passed.flatten(2)
        weight_slope, bias_slope = _of_product(flat, before)
        return flat, slope, cells_slope, None, weight_slope, bias_slope


def _of_product(passed: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of a weight and a bias, of those [S, B, N] of what they make of states [S, B, H]."""
    rows = passed.flatten(0, 1)
    return rows.T @ before.flatten(0, 1), rows.sum(0)
