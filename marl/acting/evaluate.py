"""Play whole episodes with a frozen policy."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marl.acting.policy import Policy
from marl.environments.vector import Environments

MAX_EPISODE_STEPS = 27_000  # where an episode that does not end is cut
# If an environment has no limit of its own, an episode is cut that is LONGER times as long as the longest of the last
# ones in training, but none before LEAST_LIMIT steps. A policy that never draws may run in circles for ever.
LONGER, LEAST_LIMIT = 3, 1_000


class Played(NamedTuple):
    """What a policy earned."""

    returns: npt.NDArray[np.float64]  # [episodes], un-normalised
    cut: int  # of these episodes: ended by the limit, not by the environment
    steps: int = 0  # of all environments together, those that were resets or counted no more included


def episode_limit(longest: int | None) -> int:
    """Steps after which an episode of an evaluation is cut.

    Args:
        longest: steps of the longest of the last training episodes; None: nothing is known of them.
    """
    return MAX_EPISODE_STEPS if longest is None else min(max(LONGER * longest, LEAST_LIMIT), MAX_EPISODE_STEPS)


def play(
    policy: Policy,
    environments: Environments,
    *,
    episodes: int,
    seeds: list[int],
    greedy: bool,
    seed: int = 0,
    limit: int | None = None,
) -> Played:
    """So many episodes; each environment plays its fair share, so that short episodes are not favoured.

    ``seeds`` start the environments (one each), ``seed`` the draws of a policy that is not greedy.

    Args:
        limit: steps after which an episode is cut; None: ``MAX_EPISODE_STEPS``.
    """
    limit = MAX_EPISODE_STEPS if limit is None else limit
    count = environments.count
    share = np.full(count, episodes // count)
    share[: episodes % count] += 1
    generator = torch.Generator().manual_seed(seed)
    observations = environments.reset(seeds)
    policy.reset()
    running, lengths, done = np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64)
    was_cut = np.zeros(count, bool)  # since the last reset: its next episode begins with the next reset
    returns: list[npt.NDArray[np.float64]] = []
    cut = steps = 0
    while (done < share).any():
        if (
            was_cut | (done >= share)
        ).all():  # not every vector can reset some of its environments: all of them at once
            observations = environments.reset()
            policy.reset()
            running[:] = lengths[:] = 0
            was_cut[:] = False
        step = environments.step(policy.draw(observations, greedy=greedy, generator=generator))
        observations = step.observations
        steps += count
        running += step.rewards
        lengths += step.valid
        ended = step.terminated | step.truncated
        policy.reset(ended | ~step.valid)
        endless = ~ended & (lengths >= limit)
        ended = (ended | endless) & ~was_cut
        if ended.any():
            counted = ended & (done < share)
            returns.append(running[counted])
            cut += int(np.count_nonzero(endless & counted))
            done += ended
            running[ended] = 0
            lengths[ended] = 0
            was_cut |= endless
    return Played(np.concatenate(returns), cut, steps)
