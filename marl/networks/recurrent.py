"""Built-in recurrent cores, with the equations and the gates' order of ``torch.nn.GRUCell`` and ``torch.nn.LSTMCell``.

GRU: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014). LSTM: Hochreiter and Schmidhuber,
"Long Short-Term Memory" (1997), with the forget gate of Gers et al., "Learning to Forget" (2000).
"""

import torch
from torch import Tensor, nn
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
        return torch.stack(self._passed(inputs, state, kept))

    def _passed(self, inputs: Tensor, state: State, kept: Tensor) -> list[Tensor]:
        """Features [B, size] of each step, of the gates' inputs [S, B, num_gates size].

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

    def _passed(self, inputs: Tensor, state: State, kept: Tensor) -> list[Tensor]:
        _, _, weight, bias = self._listed
        found, both = [], 2 * self.size  # gates: reset and update
        for now, keep in zip(inputs.unbind(), kept.unbind(), strict=True):
            state = state * keep
            remembered = functional.linear(state, weight, bias)
            reset, update = torch.sigmoid(now[:, :both] + remembered[:, :both]).chunk(2, -1)
            new = torch.tanh(torch.addcmul(now[:, both:], reset, remembered[:, both:]))
            state = torch.lerp(new, state, update)
            found.append(state)
        return found


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

    def _passed(self, inputs: Tensor, state: State, kept: Tensor) -> list[Tensor]:
        _, _, weight, bias = self._listed
        found, (hidden, cells) = [], state
        for now, keep in zip((inputs + bias).unbind(), kept.unbind(), strict=True):
            enter, forget, new, show = torch.addmm(now, hidden * keep, weight.T).chunk(4, -1)
            cells = torch.sigmoid(forget) * (cells * keep) + torch.sigmoid(enter) * torch.tanh(new)
            hidden = torch.sigmoid(show) * torch.tanh(cells)
            found.append(hidden)
        return found
