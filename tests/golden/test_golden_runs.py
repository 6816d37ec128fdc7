"""Deterministic runs lead to the bits on file, and print and record what they did."""

import json
from pathlib import Path

import pytest

from tests.golden.files import stored
from tests.golden.runs import RUNS, any_processor, machine, played

pytestmark = pytest.mark.usefixtures("marl_home")
QUICK = "a3c, CartPole-v1"


@pytest.mark.parametrize(
    "name", [QUICK, *(pytest.param(each, marks=pytest.mark.slow) for each in RUNS if each != QUICK)]
)
def test_a_run_is_the_one_on_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights' bits are compared where such a machine made the file; names of numbers, and their order, anywhere."""
    on_file = stored("runs")
    known = machine() in on_file
    expected = on_file[machine() if known else next(iter(on_file))][name]
    for variable, value in any_processor().items():
        monkeypatch.setenv(variable, value)
    found = json.loads(json.dumps(played(name, tmp_path)))
    assert found["metrics"] == expected["metrics"]
    assert list(found["json"]) == list(expected["json"])
    assert list(found["last"]) == list(expected["last"])
    if not known:
        pytest.skip(f"no bits on file for {machine()}: python -m tests.golden.make")
    assert found == expected
