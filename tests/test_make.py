"""Time-boxed runs: TIME=15 NWORKERS=3 make run_lunar."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from marl.studies.plan import plan
from marl.studies.study_file import read_study
from tests.commands import ROOT

BIN = str(Path(sys.executable).parent)
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def made(*words: str, cwd: Path = ROOT, **variables: str) -> str:
    """What make prints, with this interpreter's environment in the place of .venv, taken as installed."""
    venv = str(Path(BIN).parent)
    outside = {name: each for name, each in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-o", f"{venv}/.installed", f"VENV={venv}", *words]
    done = subprocess.run(command, cwd=cwd, env={**outside, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize(
    ("target", "variables", "words"),
    [
        ("run_cartpole", {}, "CartPole-v1 --minutes 5 --set stop.solved=false"),
        ("run_lunar", {"TIME": "15", "NWORKERS": "3"}, "LunarLander-v3 --minutes 15 .* --workers 3 *$"),
        ("run_bipedal", {"ALGORITHM": "ppo"}, "BipedalWalker-v3 --minutes 5 .* --algorithm ppo *$"),
    ],
)
def test_what_a_time_boxed_run_runs(target: str, variables: dict[str, str], words: str) -> None:
    train, evaluate = made("-n", target, **variables).splitlines()
    assert re.search(f"-m marl train {words}", train), train
    assert evaluate.endswith("test_env.py weights.pt")
    assert ("--workers" in train) == ("NWORKERS" in variables)


@pytest.mark.slow
def test_a_time_boxed_run(tmp_path: Path) -> None:
    for name in ("Makefile", "marl", "test_env.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    out = made("run_cartpole", cwd=tmp_path, TIME="0.02", NWORKERS="1")
    assert re.search(r"Ended \(minutes\) after [12]", out)
    assert re.search(r"^episodes +100$", out, re.MULTILINE)
    assert (tmp_path / "weights.pt").is_file()


def test_help_lists_them() -> None:
    text = made("help")
    for target in ("run_cartpole", "run_lunar", "run_bipedal", "TIME=15 NWORKERS=3"):
        assert target in text


def test_the_study_is_there() -> None:
    words = made("-n", "study").splitlines()[-1].split()
    assert words[-3:-1] == ["marl", "study"]
    assert len(plan(read_study(ROOT / words[-1]), Path("runs"), ())) == 12


def test_the_worlds_are_tested_and_trained_with_their_extras() -> None:
    tested, trained = made("-n", "worlds").splitlines()[-2:]
    assert tested.endswith("-m pytest -rs tests/environments")
    assert trained.endswith("benchmarks/worlds.py")
