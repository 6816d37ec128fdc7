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
from marl.networks.recurrent.gru_steps import GATES as GRU_GATES
from marl.networks.recurrent.gru_steps import GRUSteps
from marl.networks.recurrent.lstm_unroll import GATES as LSTM_GATES
from marl.networks.recurrent.lstm_unroll import Weights, unroll_lstm


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
        """Features [S, B, size] of features [S, B, F], one step after the other; see ``Policy.unroll``."""
        raise NotImplementedError

    def relist(self) -> None:
        """See ``KeepsTensors``."""
        self._listed = self.inputs.weight, self.inputs.bias, self.recurrent.weight, self.recurrent.bias


class GRU(Gated):
    """The state is the features that it made last [B, size]."""

    num_gates = GRU_GATES

    def initial_state(self, rows: int) -> State:
        """See ``Core``."""
        return torch.zeros(rows, self.size)

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See ``Core``."""
        weight, bias, recurrent, recurrent_bias = self._listed
        state = torch.gru_cell(features, state, weight, recurrent, bias, recurrent_bias)
        return state, state

    def unroll(self, features: Tensor, state: State, resets: Tensor) -> Tensor:
        """See ``Gated``. The inputs of all steps are one product: each step has only the recurrent product left."""
        weight, bias, recurrent, recurrent_bias = self._listed
        inputs = functional.linear(features, weight, bias)
        return GRUSteps.apply(inputs, state, resets, recurrent, recurrent_bias)  # type: ignore[no-untyped-call, no-any-return]


class LSTM(Gated):
    """The state is the features that it made last, and its cells, [B, size] each."""

    num_gates = LSTM_GATES

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

    def unroll(self, features: Tensor, state: State, resets: Tensor) -> Tensor:
        """See ``Gated``."""
        weight, bias, recurrent, recurrent_bias = self._listed
        return unroll_lstm(features, state, resets, Weights(weight, recurrent, bias, recurrent_bias))
