"""The statistics by which a run on children normalises: one set for all children, of observations and returns."""

from collections.abc import Mapping

import torch
from torch import Tensor

from marl.config.settings import Config
from marl.data.normalizer import RunningStatistics, as_row, beside, columns, from_row
from marl.data.spaces import Spaces

# If a file has statistics of observations but not of returns, those of observations get this count. So new data soon
# outweighs them.
UNKNOWN = 2.0


def statistics_size(config: Config, spaces: Spaces) -> int:
    """How many numbers have statistics: those of an observation, then the discounted return; 0: none."""
    environment = config.environment
    return spaces.measured_size * environment.normalize_observations + environment.normalize_rewards


def statistics_from(config: Config, tensors: Mapping[str, Tensor]) -> RunningStatistics | None:
    """The statistics among a file's ``tensors``; None if it has none."""
    environment = config.environment
    seen = returns = None
    if environment.normalize_observations and "normalizer" in tensors:
        seen = from_row(tensors["normalizer"].numpy())
    if environment.normalize_rewards and "rewards" in tensors:
        returns = from_row(tensors["rewards"][0].numpy())
    if not environment.normalize_rewards:
        return seen
    if not environment.normalize_observations:
        return returns
    if seen is None or not seen.count:
        return None
    if returns is None or not returns.count:
        one = torch.ones(1, dtype=torch.float64).numpy()
        seen, returns = (
            RunningStatistics(UNKNOWN, seen.mean, seen.m2 * UNKNOWN / seen.count),
            RunningStatistics(1.0, 0 * one, one),
        )
    return beside(seen, returns)


def tensors_of(config: Config, row: Tensor | None) -> dict[str, Tensor]:
    """Statistics as a checkpoint and a weights file hold them: "observations" and "rewards", each [1, columns]."""
    if row is None:
        return {}
    environment, both, found = config.environment, from_row(row.numpy()), {}
    if environment.normalize_rewards:
        found["rewards"] = columns(both, slice(-1, None))
        both = columns(both, slice(-1))
    if environment.normalize_observations:
        found["observations"] = both
    return {name: torch.from_numpy(as_row(each))[None] for name, each in found.items()}
