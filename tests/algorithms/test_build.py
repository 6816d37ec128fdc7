"""Initial weights are the seed's alone."""

import hashlib
import re
from pathlib import Path

import pytest
import torch

from examples.own_network import Convolutions
from marl.algorithms.algorithm_class import ALGORITHMS, algorithm_class
from marl.algorithms.base import Algorithm
from marl.algorithms.build import build_network
from marl.data.spaces import Spaces
from marl.networks.settings import NetworkSettings
from tests.algorithms.cases import BOX, DISCRETE
from tests.plain_spaces import plain_spaces

PICTURES = plain_spaces((10, 5), num_actions=3)
OWN = f"{Convolutions.__module__}:{Convolutions.__name__}"
MARL = Path(__file__).resolve().parents[2] / "marl"


@pytest.mark.parametrize(
    ("name", "spaces", "settings"),
    [
        *((name, BOX if name == "sac" else DISCRETE, NetworkSettings(hidden=(64, 64))) for name in ALGORITHMS),
        ("ppo", PICTURES, NetworkSettings(name=OWN)),
    ],
)
def test_the_same_bits_with_any_number_of_threads(name: str, spaces: Spaces, settings: NetworkSettings) -> None:
    algorithm = algorithm_class(name)()
    assert len({hash_of(algorithm, spaces, settings, threads) for threads in (1, 2, 3)}) == 1


def hash_of(algorithm: Algorithm, spaces: Spaces, settings: NetworkSettings, threads: int) -> str:
    """Of all weights, built in a process that computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        network = build_network(algorithm, spaces, settings, seed=1)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    return hashlib.sha256(b"".join(each.numpy().tobytes() for each in network.state_dict().values())).hexdigest()


def test_nothing_builds_a_network_in_another_way() -> None:
    calls = re.compile(r"\.build_network\(")
    found = [str(file.relative_to(MARL)) for file in MARL.glob("**/*.py") if calls.search(_code(file))]
    assert found == ["algorithms/build.py"]


def _code(file: Path) -> str:
    """A file without the lines of its docstrings that show how to use it."""
    return re.sub(r'"""(.|\n)*?"""', "", file.read_text())
