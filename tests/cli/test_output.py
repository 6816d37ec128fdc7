"""Standard output is a command's own: what environments print goes elsewhere, and a reader may go away."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from marl.cli.output import _Forgiving
from tests.commands import BARE, MARL, PATIENCE_S, ROOT, python

WORDS = """
import os, subprocess, sys
from marl.cli.output import own_output
with own_output():
    os.write(1, b"library\\n")
    subprocess.run([sys.executable, "-c", "print('process')"], check=True)
    print("ours", flush=True)
    sys.exit(3)
"""


def run(shell: str) -> "subprocess.CompletedProcess[str]":
    """The words above, as ``shell`` starts them."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WORDS": WORDS}
    return subprocess.run(
        ["bash", "-c", f'run() {{ {sys.executable} -c "$WORDS"; }}; {shell}'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_only_the_commands_own_words() -> None:
    done = run("run")
    assert (done.returncode, done.stdout) == (3, "ours\n")
    assert done.stderr == "library\nprocess\n"


@pytest.mark.parametrize("shell", ["run >&-", "run >&- <&-", "run | true; exit ${PIPESTATUS[0]}"])
def test_nobody_reads(shell: str) -> None:
    """Closed from the start, or a pipe whose reader is gone: words are lost, the exit code is not."""
    done = run(shell)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "library\nprocess\n")


def test_an_environment_that_prints_and_leaves_the_folder(tmp_path: Path) -> None:
    """One JSON object, and every file where the command was started."""
    (tmp_path / "restless.py").write_text(RESTLESS)
    (tmp_path / "level.txt").write_text("1")
    words = ("train", "restless:Restless", "--steps", "200", "--workers", "1", "--json", *BARE)
    done = python(*MARL, *words, cwd=tmp_path)
    assert done.returncode == 0, done
    result = json.loads(done.stdout)
    assert "from Python" in done.stderr
    assert "from C" in done.stderr
    assert (tmp_path / result["weights"]).is_file()
    assert (tmp_path / result["run"] / "checkpoint.pt").is_file()
    done = python(*MARL, "evaluate", "--episodes", "2", "--json", "--parallel", "1", cwd=tmp_path)
    assert json.loads(done.stdout)["mean"] == 5.0, done


RESTLESS = """
import os
import tempfile

import gymnasium
import numpy as np

print("from Python, at import")
level = open("level.txt").read()  # in each process: it starts where the user did


class Restless(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        os.chdir(tempfile.mkdtemp())
        print("from Python")
        os.write(1, b"from C\\n")

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        print("from Python")
        os.write(1, b"from C\\n")
        self.steps += 1
        return np.zeros(1, np.float32), 1.0, self.steps == 5, False, {}
"""


def test_a_terminal_that_was_closed_costs_words_and_nothing_else() -> None:
    master, terminal = pty.openpty()
    stream = _Forgiving(terminal)
    os.close(master)
    assert stream.write(b"Ended (stopped)") == len("Ended (stopped)")
    stream.close()
