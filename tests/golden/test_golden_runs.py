"""Deterministic runs lead to the bits on file, and print and record what they did."""

import json
from pathlib import Path

import pytest

from tests.golden.files import stored
from tests.golden.runs import RUNS, machines, played

pytestmark = pytest.mark.usefixtures("marl_home")
QUICK = "a3c, CartPole-v1"


@pytest.mark.parametrize(
    "name", [QUICK, *(pytest.param(each, marks=pytest.mark.slow) for each in RUNS if each != QUICK)]
)
def test_a_run_is_the_one_on_file(name: str, tmp_path: Path) -> None:
    """Weights' bits are compared where such a machine made the file; names of numbers, and their order, anywhere."""
    on_file = stored("runs")
    known = [each for each in machines() if each in on_file]  # some models of processor have bits of their own
    expected = on_file[known[0] if known else next(iter(on_file))][name]
    found = json.loads(json.dumps(played(name, tmp_path)))
    assert found["metrics"] == expected["metrics"]
    assert list(found["json"]) == list(expected["json"])
    assert list(found["last"]) == list(expected["last"])
    if not known:
        pytest.skip(f"no bits on file for {machines()[0]}: python -m tests.golden.make")
    assert found == expected
