"""Initial weights are the seed's alone."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.own_network import Convolutions
from marl.algorithms.algorithm_class import ALGORITHMS, algorithm_class
from marl.algorithms.base import Algorithm
from marl.algorithms.build import build_network
from marl.data.spaces import Part, Spaces
from marl.errors import ConfigError
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


INFINITE = float("inf")
BOUNDED, HALF = Part((2,), low=(-1.0, 0.0), high=(1.0, 4.0)), Part((2,), low=(-1.0, 0.0), high=(1.0, INFINITE))
ONE_CATEGORY, SEVERAL = Part((), "int32", (3,), (0,)), Part((2,), "int32", (3, 2), (0, 0))


@pytest.mark.parametrize(
    ("name", "actions", "settings", "remedy"),
    [
        ("sac", ONE_CATEGORY, {}, "apex_dqn"),
        ("sac", SEVERAL, {}, "ppo"),
        ("sac", {"a": BOUNDED}, {}, "ppo"),
        ("sac", HALF, {}, "ppo"),
        ("sac", HALF._replace(low=(-INFINITE,) * 2), {}, "ppo"),
        ("apex_dqn", BOUNDED, {}, "sac"),
        ("apex_dqn", BOUNDED, {"core": "gru"}, "ppo"),  # which sac refuses
        ("apex_dqn", HALF, {}, "ppo"),
        ("apex_dqn", SEVERAL, {}, "ppo"),
        ("apex_dqn", {"a": HALF, "b": ONE_CATEGORY}, {}, "ppo"),
    ],
)
def test_the_algorithm_that_a_refusal_names_takes_the_actions(
    name: str, actions: Any, settings: dict[str, Any], remedy: str
) -> None:
    spaces, network = Spaces(Part((3,)), actions), NetworkSettings(**settings)
    with pytest.raises(ConfigError, match=f": try {remedy}$"):
        build_network(algorithm_class(name)(), spaces, network)
    assert build_network(algorithm_class(remedy)(), spaces, network)


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
