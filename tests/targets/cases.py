"""Random trajectories, and the returns that several targets must agree with."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

Array = npt.NDArray[np.float64]


def random_case(seed: int, T: int, B: int) -> tuple[Array, ...]:
    """rewards, values, next values, terminated, truncated; ends are frequent, sometimes both kinds at once."""
    rng = np.random.default_rng(seed)
    numbers = [rng.normal(size=(T, B)) for _ in range(3)]
    return *numbers, rng.random((T, B)) < 0.2, rng.random((T, B)) < 0.2


def tensors(case: tuple[Array, ...], dtype: torch.dtype) -> list[Tensor]:
    return [torch.from_numpy(each) if each.dtype == bool else torch.from_numpy(each).to(dtype) for each in case]


def random_log_ratios(seed: int, T: int, B: int) -> Tensor:
    """log pi / mu of policies that differ: ratios from about 1/8 to 8."""
    return torch.from_numpy(np.random.default_rng([seed, 1]).normal(size=(T, B)))


def consistent(case: tuple[Array, ...]) -> tuple[Array, ...]:
    """Within an episode the next value is the value of the next step; only then do the deltas telescope."""
    rewards, values, following, terminated, truncated = case
    inside = ~(terminated | truncated)[:-1]
    following[:-1][inside] = values[1:][inside]
    return rewards, values, following, terminated, truncated


def another_future(case: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...], int]:
    """A case with an end in the middle, one that differs in all that no step before may see, and how many those are."""
    *_, terminated, truncated = case
    kept = len(truncated) // 2 + 1
    truncated[kept - 1] = True
    other = tuple(each.copy() for each in case)
    for numbers in other[:3]:
        numbers[kept:] += 1e6
    for masks in other[3:]:
        masks[kept:] ^= True
    other[2][terminated] += 1e6  # no value after a termination
    return case, other, kept


def literal_n_step(
    rewards: Array, values: Array, following: Array, terminated: Array, truncated: Array, discount: float
) -> Array:
    """Algorithm S3 of the paper, an episode at a time: R <- bootstrap, then R <- r + discount R."""
    T, B = rewards.shape
    advantages = np.zeros((T, B))
    for b in range(B):
        total = 0.0
        for t in reversed(range(T)):
            if terminated[t, b]:
                total = 0.0
            elif truncated[t, b] or t == T - 1:
                total = following[t, b]
            total = rewards[t, b] + discount * total
            advantages[t, b] = total - values[t, b]
    return advantages


def literal_lambda_return(
    rewards: Array, following: Array, terminated: Array, truncated: Array, discount: float, lambdas: Array
) -> Array:
    """The definition, as a mean of n-step returns: lambdas[t] is the share of the returns that go on after step t."""
    T, B = rewards.shape
    targets = np.zeros((T, B))
    for t, b in np.ndindex(T, B):
        share, total = 1.0, 0.0
        for k in range(t, T):
            total += discount ** (k - t) * rewards[k, b]
            bootstrap = 0.0 if terminated[k, b] else discount ** (k - t + 1) * following[k, b]
            if terminated[k, b] or truncated[k, b] or k == T - 1:
                targets[t, b] += share * (total + bootstrap)
                break
            targets[t, b] += share * (1 - lambdas[k, b]) * (total + bootstrap)
            share *= lambdas[k, b]
    return targets


cases = st.builds(random_case, st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3))
unit = st.floats(0, 1)


def property_of(*strategies: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda test: settings(max_examples=60, deadline=None, derandomize=True)(given(*strategies)(test))
