"""The recursion under every return: what a step adds, and the share it keeps of the step after."""

import torch
from torch import Tensor


def backward_sums(terms: Tensor, factors: Tensor, last: Tensor | None = None) -> Tensor:
    """``sum_t = terms_t + factors_t sum_{t+1}``, from the last step back; all [T, B], ``last`` [B] the sum after it."""
    total = torch.zeros_like(terms[0]) if last is None else last
    totals = []
    for term, factor in zip(reversed(terms.unbind()), reversed(factors.unbind()), strict=True):
        total = torch.addcmul(term, factor, total)
        totals.append(total)
    return torch.stack(totals[::-1])
