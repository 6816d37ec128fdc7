"""The one way by which every process builds a network."""

from torch import nn

from marl.algorithms.base import Algorithm
from marl.data.spaces import Spaces
from marl.networks.settings import NetworkSettings
from marl.processes.threads import one_thread


def build_network(algorithm: Algorithm, spaces: Spaces, settings: NetworkSettings, seed: int = 0) -> nn.Module:
    """The algorithm's network; the same seed gives the same initial weights, however many threads torch has here.

    Args:
        seed: of the initial weights; of no consequence where they are overwritten.
    """
    with one_thread():
        return algorithm.build_network(spaces, settings, seed)
