"""The one way by which every process builds a network and what acts by it."""

from typing import Any, cast

from torch import nn

from marl.algorithms.base import Algorithm
from marl.data.spaces import Spaces
from marl.networks.sampling import Rank, Sampler, own_sampler
from marl.networks.settings import ExplorationSettings, NetworkSettings
from marl.processes.threads import one_thread


def build_network(algorithm: Algorithm, spaces: Spaces, settings: NetworkSettings, seed: int = 0) -> nn.Module:
    """The algorithm's network; the same seed gives the same initial weights, however many threads torch has here.

    Args:
        seed: of the initial weights; of no consequence where they are overwritten.
    """
    with one_thread():
        return algorithm.build_network(spaces, settings, seed)


def make_sampler(algorithm: Algorithm, settings: ExplorationSettings, network: nn.Module, rank: Rank) -> Sampler:
    """How a worker of this rank acts: as the settings say, or as its algorithm does.

    Raises:
        PluginError: the settings name no sampler.
    """
    distribution, name = cast(Any, network).distribution, settings.sampler
    return own_sampler(name, distribution, rank) if name else algorithm.for_worker(rank).sampler(distribution)
