"""What an exchange may know of a run's settings beside its own."""

import math
from dataclasses import dataclass, field

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm
from marl.data.settings import ReplaySettings
from marl.environments.settings import EnvironmentSettings
from marl.networks.settings import ExplorationSettings, NetworkSettings
from marl.training.optimizers import OptimizerSettings


@dataclass(frozen=True)
class RunSettings:
    """The settings of playing and learning, which are the same for a parent and its children."""

    seed: int | None = None  # None: drawn once and written down
    deterministic: bool = False  # same seed, same bits: one worker, decisions only at checkpoints
    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    exploration: ExplorationSettings = field(default_factory=ExplorationSettings)
    algorithm: Algorithm = field(default_factory=A3C)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)


def replay_ratio(run: RunSettings) -> float:
    """How often the replay gives each step to training; 0: there is no replay."""
    ratio = run.replay.ratio
    return run.algorithm.replay_ratio if ratio is None else ratio


def most_updates(run: RunSettings) -> float:
    """The most updates that a worker makes of a trajectory; infinite where that is not known."""
    ratio, algorithm = replay_ratio(run), run.algorithm
    if algorithm.from_transitions:
        return math.ceil(ratio * algorithm.t_max * run.environment.per_worker / run.replay.batch_size)
    return algorithm.batches_per_trajectory() * max(1, math.ceil(ratio))
