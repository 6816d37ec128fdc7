"""Environments that break their promises, or change: one line says which and how, and no file is touched."""

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Answer
from tests.cli.faulty import FAULTY, WALK
from tests.cli.test_bad_input import Command, refused
from tests.commands import BARE, ENDLESS, MARL, python, run_folder


def test_arguments_that_a_file_lacks_reach_every_copy(command: Command, tmp_path: Path) -> None:
    """None in training, its evaluator, ``evaluate`` and after a resume; it was left out, which meant the default."""
    (tmp_path / "walks.py").write_text(FAULTY.replace("self.steps == 5", "self.steps == (self.limit or 25)") + WALK)
    words = ["train", "walks:Walk", "--set", "environment.kwargs.limit=None", "--workers", "1", "--json", *BARE]
    trained = command(*words, "--steps", "2000", "--set", "evaluation.final_episodes=4")
    assert (trained.code, trained.err) == (0, "")
    result = json.loads(trained.out)
    assert (result["return_mean"], result["evaluation_mean"]) == (25.0, 25.0)
    assert json.loads(command("evaluate", "--episodes", "4", "--json").out)["mean"] == 25.0
    resumed = json.loads(command("train", "--resume", result["run"], "--steps", "4000", "--json").out)
    assert resumed["return_mean"] == 25.0


def test_an_environment_that_changed(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of an environment whose spaces are others now, or whose module is gone: no file is touched."""
    module = tmp_path / "changing.py"
    module.write_text(FAULTY)
    assert command("train", "changing:Works", "--steps", "2000", *BARE).code == 0
    run = run_folder(tmp_path)
    assert run is not None
    before = {file: file.read_bytes() for file in run.glob("[!.]*")}
    for old, new, was, has in (
        ("SIZE = 2", "SIZE = 3  # more", "observation shape (2,)", "observation shape (3,)"),
        ("Discrete(2)", "Discrete(2, start=1)", "action starts (0,)", "action starts (1,)"),
        ("Discrete(2)", "Box(-1, np.ones(2, np.float32))", "actions of 2 categories", "actions [2]"),
    ):
        monkeypatch.delitem(sys.modules, "changing")
        module.write_text(FAULTY.replace(old, new))
        for words in (
            ["evaluate"],
            ["train", "--resume", run, "--steps", "9000000"],
            ["train", "changing:Works", "--init", "weights.pt", "--steps", "20"],
        ):
            refused(command(*words), f"trained on {was}", f"changing:Works now has {has}")
    assert {file: file.read_bytes() for file in run.glob("[!.]*")} == before
    monkeypatch.delitem(sys.modules, "changing")
    module.unlink()
    refused(command("evaluate"), "no module named 'changing'")


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("NaN", ["faulty:NaN", "observation nan is not finite", "marl check"]),
        ("Raises", ["faulty:Raises", "ValueError in step: the pipe leaks", "marl check"]),
    ],
)
def test_environments_that_break_their_promises(name: str, contents: list[str], tmp_path: Path) -> None:
    """Noticed by a worker, whose own standard error stays silent."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    done = python(*MARL, "train", f"faulty:{name}", *ENDLESS, *BARE, cwd=tmp_path)
    refused(Answer(done.returncode, done.stdout, done.stderr), *contents)
    run = run_folder(tmp_path)
    assert run is not None
    assert "Traceback" in (run / "errors.log").read_text()  # for whoever mends the environment


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("Reward", ["faulty_Reward:Reward", "reward inf is not finite"]),
        ("Shape", ["faulty_Shape:Shape: expected observations of Box", "got [3] of float32", "marl check"]),
        ("LateShape", ["got [3] of float32", "says more) (worker 0; what was learned is saved)"]),
        ("Late", ["faulty_Late:Late", "ValueError in step: worn out", "after 10 restarts"]),
    ],
)
def test_other_broken_promises(name: str, contents: list[str], command: Command, tmp_path: Path) -> None:
    module = f"faulty_{name}"  # this process remembers the modules of other tests
    (tmp_path / f"{module}.py").write_text(FAULTY)
    answer = command("train", f"{module}:{name}", "--no-look", *ENDLESS, *BARE, "--workers", "1")
    refused(answer, *contents)


@pytest.mark.parametrize("name", ["NaN", "Reward", "Shape", "Raises"])
def test_the_check_finds_them(name: str, command: Command, tmp_path: Path) -> None:
    module = f"faulty_{name}"  # this process remembers the modules of other tests
    (tmp_path / f"{module}.py").write_text(FAULTY)
    answer = command("check", f"{module}:{name}", "--seconds", "0.1")
    refused(answer, f"{module}:{name}: 1 problem")
    assert "problem: " in answer.out
    assert "step" in answer.out
