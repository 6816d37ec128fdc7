"""``marl study``: what it prints, and one clear line for what it cannot do."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marl.studies import study as studies
from marl.studies.schedule import Ended
from tests.cli.conftest import Answer
from tests.studies.files import SMALL, finish, quick, written

HEAD = 'base = "CartPole-v1"\nseeds = [1]\n'
Command = Callable[..., Answer]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose runs end at once."""

    def play(runs: Any, *unused: Any, began: Any, ended: Any) -> None:
        for run in runs:
            began(run)
            finish(run)
            ended(Ended(run, ""))

    quick(monkeypatch, pictures=False)
    monkeypatch.setattr(studies, "play", play)
    return written(tmp_path)


def test_it_says_what_becomes_of_each_run(file: Path, command: Command) -> None:
    answer = command("study", "small.toml")
    assert (answer.code, answer.err) == (0, "")
    first, *_, last = answer.out.splitlines()
    assert first == f"Study in {Path('studies-runs/small')}{os.sep}: 4 runs"
    assert last == f"Runs that have ended: 4 of 4. Report: {Path('studies-runs/small/report.md')}"
    assert len(answer.out.splitlines()) == 10


def test_a_failed_run_is_told_at_the_end_too(file: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(runs: Any, *unused: Any, began: Any, ended: Any) -> None:
        for run in runs:
            ended(Ended(run, "no such game"))

    monkeypatch.setattr(studies, "play", play)
    answer = command("study", "small.toml")
    assert answer.code == 1
    assert answer.err == (
        "Error: slow, seed 1 failed: no such game (and 3 more); the same command tries again what has not ended\n"
    )


def test_ctrl_c(file: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(runs: Any, slots: int, allow: Any, stopped: Any, **unused: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(10)

    monkeypatch.setattr(studies, "play", play)
    answer = command("study", "small.toml")
    assert (answer.code, answer.err) == (130, "Error: stopped; marl study small.toml goes on\n")
    assert "Runs that have ended: 0 of 4." in answer.out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{HEAD}[grid]\nalgorithm.learnin_rate = [1e-3]", "no setting is called 'algorithm.learnin_rate'"),
        (f"{HEAD}[grid]", "grid: expected settings with lists of values, got an empty one"),
        (f"{HEAD}[grid]\nalgorithm.t_max = []", "grid.algorithm.t_max: expected a list of at least one value"),
        (
            f"{HEAD}metric = 'speed'",
            "metric: expected one of 'score', 'steps', 'steps per child', 'seconds', got",
        ),
        (
            f"{HEAD}children = [3]\ndivide = ['environment.per_worker']",
            "environment.per_worker = 32 cannot be divided by 3 children",
        ),
        (SMALL.replace("[1, 2]", "[1, 2, 1]"), "seeds: 1 is given twice"),
        ("base = [", "not a TOML file of a study"),
        ('base = "NoSuchGame-v1"\nseeds = [1]\n[settings]\nstop.steps = 9', "NoSuchGame"),
        ('base = "nothing.toml"\nseeds = [1]', "nothing.toml: No such file"),
    ],
)
def test_wrong_files(text: str, complaint: str, tmp_path: Path, command: Command) -> None:
    written(tmp_path, text)
    answer = command("study", "small.toml")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("Error: ")
    assert complaint in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "studies-runs").exists()


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ([], 2, "Missing argument 'FILE.toml'"),
        (["none.toml"], 1, "cannot read the study file none.toml: No such file"),
        (["small.toml", "--side-by-side", "0"], 2, "0 is not in the range"),
        (["small.toml", "--report-only"], 1, "got nothing there: leave out --report-only"),
        (["small.toml", "--only", "fsat"], 1, "--only: expected a part of one of 'slow', 'fast', got 'fsat'"),
        (["small.toml", "--runs", "small.toml"], 1, "--runs"),
        (["small.toml", "--runs", "s3://bucket/runs"], 1, "--runs: expected a folder of this machine for a study"),
    ],
)
def test_wrong_words(words: list[str], code: int, complaint: str, file: Path, command: Command) -> None:
    answer = command("study", *words)
    assert (answer.code, answer.out) == (code, "")
    assert complaint in answer.err
    assert answer.err.count("\n") == 1


def test_a_run_folder_that_was_changed(file: Path, command: Command, tmp_path: Path) -> None:
    command("study", "small.toml")
    (config,) = (tmp_path / "studies-runs/small/runs/fast/children-0/seed-2").glob("*/config.toml")
    config.write_text(config.read_text().replace("learning_rate = 0.01", "learning_rate = 0.5"))
    answer = command("study", "small.toml")
    assert answer.code == 1
    assert "fast, seed 2: " in answer.err
    assert "algorithm.learning_rate is 0.5, the study says 0.01: undo the change" in answer.err
    assert answer.err.count("\n") == 1
