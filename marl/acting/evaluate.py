"""Play whole episodes with a frozen policy."""

import numpy as np
import numpy.typing as npt
import torch

from marl.acting.policy import Policy
from marl.environments.vector import Environments

MAX_EPISODE_STEPS = 27_000  # a policy that never ends its episode is judged by so many steps of it


def play(
    policy: Policy,
    environments: Environments,
    *,
    episodes: int,
    seeds: list[int],
    greedy: bool,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Un-normalised returns [episodes]; each environment plays its fair share, so that short episodes are not favoured.

    ``seeds`` start the environments (one each), ``seed`` the draws of a policy that is not greedy.
    """
    count = environments.count
    share = np.full(count, episodes // count)
    share[: episodes % count] += 1
    generator = torch.Generator().manual_seed(seed)
    observations = environments.reset(seeds)
    running, lengths, done = np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64)
    returns: list[npt.NDArray[np.float64]] = []
    while (done < share).any():
        step = environments.step(policy.draw(observations, greedy=greedy, generator=generator))
        observations = step.observations
        running += step.rewards
        lengths += 1
        ended = step.terminated | step.truncated | (lengths >= MAX_EPISODE_STEPS)
        if ended.any():
            returns.append(running[ended & (done < share)])
            done += ended
            running[ended] = 0
            lengths[ended] = 0
    return np.concatenate(returns)
