"""A user's own environment, algorithm, network and sampler on a child that has them, and allows them."""

from pathlib import Path

import pytest

from tests.commands import BARE, MARL, python
from tests.slow.cluster import OFTEN, child, parent

CATCH = ("examples.own_environment:Catch-v0", "--seed", "1")
OWN = ("--algorithm", "examples.own_algorithm:AWR", "--set", "network.name=examples.own_network:Convolutions",
       "--set", "exploration.sampler=examples.own_sampler:Boltzmann",
       "--set", "environment.solved_return=0.7")  # fmt: skip
pytestmark = pytest.mark.usefixtures("marl_home")


@pytest.mark.slow
@pytest.mark.parametrize("exchange", ["weights", "experience", "observations"])
def test_a_child_that_allows_them(exchange: str, tmp_path: Path) -> None:
    with child(tmp_path, "--allow", "examples") as first:
        words = (*CATCH, *OWN, "--exchange", exchange, "--minutes", "2", *OFTEN)
        with parent(tmp_path, [first], *words) as run:
            assert run.end() == 0
        assert run.errors == []
        assert run.lines[-2].startswith("Solved after"), run.lines
        assert first.errors == []


@pytest.mark.slow
def test_a_child_that_does_not(tmp_path: Path) -> None:
    with child(tmp_path, "--allow", "examples.own_environment") as first:
        done = python(*MARL, "parent", *CATCH, *OWN, *BARE, "-ip", first.address, cwd=tmp_path)
        assert done.returncode == 1
        assert "may import no algorithm from examples.own_algorithm" in done.stderr
        assert "--allow examples.own_algorithm" in done.stderr
        assert done.stderr.count("\n") == 1
        first.wait("a parent is turned away: the child may import no algorithm")
