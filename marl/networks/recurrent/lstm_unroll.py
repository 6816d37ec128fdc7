"""Long short-term memory over whole trajectories, by torch's own operation: one call for all steps.

It has no way to begin again with zeros inside a row. So a row gets one more step before each episode that begins there:
a step whose closed gates let nothing in, keep nothing and show nothing. It leaves zeros behind, and no gradient passes
it. Rows with fewer episodes have such steps at their end.
"""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GATES = 4  # enter, forget, new, show
CLOSED = -1e4  # of what opens a gate: the logistic function of it is 0


class Weights(NamedTuple):
    """As torch's operation takes them."""

    inputs: Tensor  # [4 H, F]
    recurrent: Tensor  # [4 H, H]
    inputs_bias: Tensor  # [4 H]
    recurrent_bias: Tensor  # [4 H]


def unroll_lstm(features: Tensor, state: tuple[Tensor, Tensor], resets: Tensor, weights: Weights) -> Tensor:
    """Features [S, B, H] of features [S, B, F], from a hidden state and cells [B, H]; resets [S, B]."""
    first = resets[0].unsqueeze(-1)
    state = (state[0].masked_fill(first, 0.0), state[1].masked_fill(first, 0.0))
    begins = resets.cpu().numpy()
    if not begins[1:].any():
        return _lstm(features, state, weights)
    steps, rows = begins.shape
    added = begins.cumsum(0) - begins[0]  # [S, B]  steps that the row has more until there
    longer = steps + int(added[-1].max())
    found = np.arange(steps * rows).reshape(steps, rows) + added * rows  # numpy takes a third of torch's time for it
    places = torch.from_numpy(found.ravel()).to(features.device)
    marked = functional.pad(features, (0, 1)).flatten(0, 1)
    spread = marked.new_zeros(longer * rows, marked.shape[1])
    spread[:, -1] = 1.0  # stays in the steps added
    spread = spread.index_copy(0, places, marked).view(longer, rows, -1)
    closing = weights._replace(inputs=functional.pad(weights.inputs, (0, 1), value=CLOSED))
    return _lstm(spread, state, closing).flatten(0, 1).index_select(0, places).view(steps, rows, -1)


def _lstm(features: Tensor, state: tuple[Tensor, Tensor], weights: Weights) -> Tensor:
    """See ``unroll_lstm``; no episode begins in between."""
    before = [each.unsqueeze(0) for each in state]
    # cuDNN would round to TF32, which single steps do not, and wants all weights in one piece of memory.
    exactly = torch.backends.cudnn.flags(enabled=False) if features.is_cuda else nullcontext()
    with exactly:
        made, *_ = torch.lstm(features, before, list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, False)
    return made
