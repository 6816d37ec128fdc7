"""Measures to check uploads with: how far learning can move the weights, and observations of the parent itself."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from marl import seeds
from marl.averaging.reach import Reach
from marl.cluster.statistics import statistics_size
from marl.config.settings import Config
from marl.data.layout import Values, flattened
from marl.data.normalizer import RunningStatistics, statistics_of
from marl.data.preprocess import Preprocess
from marl.data.spaces import Spaces
from marl.environments.actions import random_actions
from marl.environments.masks import legal_actions
from marl.environments.vector import make_environments
from marl.errors import EnvironmentFault
from marl.exchanges.observation_statistics import SEEN_PER_STEP
from marl.exchanges.run import replay_ratio
from marl.plugins import foreign_code
from marl.processes.signals import raising
from marl.training.reach import reach_of

SAMPLE, SAMPLE_S = 256, 1.0  # steps that the parent plays, and seconds at most


def find_reach(config: Config, network: nn.Module) -> Reach:
    """How far learning can move the weights."""
    return reach_of(
        config.algorithm,
        config.optimizer,
        sum(each.numel() for each in network.parameters()),
        per_worker=config.environment.per_worker,
        replay_ratio=replay_ratio(config),
        batch_size=config.replay.batch_size,
    )


def seen_beside(config: Config) -> float:
    """Observations per worker that an upload may contain before it counts their steps: those of two trajectories."""
    return 2 * SEEN_PER_STEP * config.algorithm.t_max * config.environment.per_worker


def sample_observations(config: Config, spaces: Spaces) -> RunningStatistics | None:
    """Statistics of observations under random actions; of returns too, if rewards are normalised.

    None if nothing is normalised, in deterministic mode, or if this machine evaluates no episodes. None also if the
    environment fails here: then the children report why.

    Raises:
        PluginError: the environment changes torch's defaults.
    """
    if not statistics_size(config, spaces) or config.deterministic or not config.evaluation.episodes:
        return None
    try:
        with raising(), foreign_code(config.environment.id):
            seen = _play(config, spaces)[:, -statistics_size(config, spaces) :]
    except EnvironmentFault:
        return None
    return statistics_of(seen) if bool(np.isfinite(seen).all()) else None


def _play(config: Config, spaces: Spaces) -> npt.NDArray[Any]:
    """Observations [N, D]. If rewards are normalised, one more column has the discounted return so far."""
    environments = make_environments(config.environment, 1)
    sequence = seeds.stream(config.seed or 0, child=0, worker=0, purpose=seeds.EVALUATION, interval=2)
    generator = np.random.default_rng(sequence)
    until = time.monotonic() + SAMPLE_S
    preprocess = Preprocess(spaces)
    running, returns = 0.0, [0.0]

    def numbers(observations: Values) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = preprocess.numbers(flattened(spaces.raw, observations))[0].copy()
        return found

    try:
        shown = environments.reset([seeds.integer(sequence)])
        seen = [numbers(shown)]
        while len(seen) < SAMPLE and time.monotonic() < until:
            actions = legal_actions(spaces, shown, random_actions(spaces, 1, generator), generator)
            step = environments.step(actions)
            shown = step.observations
            seen.append(numbers(step.observations))
            running = running * config.algorithm.discount + float(step.rewards[0])
            returns.append(running)
            running *= not (step.terminated[0] or step.truncated[0])
    finally:
        environments.close()
    if not config.environment.normalize_rewards:
        return np.stack(seen)
    return np.column_stack([np.stack(seen), np.array(returns)])
