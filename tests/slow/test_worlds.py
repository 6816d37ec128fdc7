"""What `make worlds` says of an environment that trains, and of one that does not."""

import subprocess
import sys

import pytest

from tests.commands import ROOT

SCRIPT = """
import sys
sys.path.insert(0, "benchmarks")
import worlds
small = worlds.World("gymnasium", (("CartPole-v1",), ("CartPoll-v1",)))
worlds.WORLDS = {"small": small, "no": worlds.World("no", ((),))}
worlds.main()
"""


def worlds(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_each_run_is_a_line_and_one_that_fails_is_the_status() -> None:
    done = worlds("--steps", "500")
    assert done.returncode == 1
    lines = done.stdout.splitlines()[2:]
    assert [line.split(" | ")[3] for line in lines] == ["yes", "NO", "NO"]
    assert "steps/s" in lines[0]
    assert "did you mean CartPole-v1" in lines[1]
    assert "extra 'no' is missing" in lines[2]


def test_a_world_that_is_none_is_refused() -> None:
    done = worlds("mujoko")
    assert done.returncode == 2
    assert "expected worlds of small, no, got mujoko" in done.stderr
