"""What a user can do wrong: one line with cause and remedy, a non-zero exit code, no traceback unless asked for."""

import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from marl.errors import WeightsFileError
from marl.reports.run_lock import writing
from tests.cli.conftest import Answer, Trained
from tests.cli.faulty import FAULTY
from tests.commands import BARE, ENDLESS, MARL, PATIENCE_S, learning, python, run_folder, started, until

Command = Callable[..., Answer]


def refused(answer: Answer, *contents: str, code: int = 1) -> None:
    """It ended with one line that holds ``contents``."""
    assert answer.code == code, answer
    assert answer.err.startswith("Error: "), answer
    assert answer.err.count("\n") == 1, answer
    assert "Traceback" not in answer.out + answer.err
    for content in contents:
        assert content in answer.err


@pytest.mark.parametrize(
    ("words", "contents"),
    [
        ("train CartPol-v1", ["no environment named 'CartPol-v1'", "did you mean CartPole-v1"]),
        ("check CartPol-v1", ["no environment named 'CartPol-v1'", "did you mean CartPole-v1"]),
        ("bench CartPol-v1", ["no environment named 'CartPol-v1'", "did you mean CartPole-v1"]),
        ("train CartPole-v7", ["CartPole-v7", "CartPole-v1"]),
        ("train nothing_like_it --steps 9", ["nothing_like_it", "package.module:factory"]),
        ("train no_such_module:Game --steps 9", ["no module named 'no_such_module'", "install it"]),
        ("train faulty:Missing --steps 9", ["faulty", "Missing"]),
        ("train faulty:number --steps 9", ["faulty:number", "class or function"]),
        ("train faulty:Broken --steps 9", ["faulty:Broken", "RuntimeError", "no licence found"]),
        ("train faulty:Words --steps 9", ["expected observations of Box"]),
        ("train faulty:Works --steps 9 --set environment.kwargs={size=1}", ["faulty:Works", "size"]),
        ("train faulty:Works", ["nothing says when to stop", "--steps"]),
        ("train syntax_error:Game --steps 9", ["syntax_error", "SyntaxError"]),
        ("train --set algorithm.lerning_rate=1", ["algorithm.lerning_rate", "did you mean 'algorithm.learning_rate'"]),
        ("train --set algorithm=3", ["algorithm", "section"]),
        ("train --set node.workers=many", ["node.workers", "a whole number", "many"]),
        ("train --set algorithm.learning_rate=-1", ["algorithm.learning_rate", "more than 0", "-1"]),
        ("train --set algorithm.learning_rate", ["key.path=value", "algorithm.learning_rate"]),
        ("train --set optimizer.name=adman --steps 9", ["optimizer.name", "adam", "adman"]),
        ("train --set network.activation=rely --steps 9", ["activation"]),
        ("train --algorithm dqn --steps 9", ["algorithm.name", "apex_dqn", "package.module:Class", "'dqn'"]),
        ("train --algorithm no_such_module:Mine --steps 9", ["no module named 'no_such_module'", "install it"]),
        ("train --algorithm syntax_error:Mine --steps 9", ["syntax_error", "SyntaxError"]),
        ("train --algorithm faulty:Works --steps 9", ["algorithm.name", "faulty:Works", "frozen dataclass"]),
        ("train --set network.name=faulty:Works --steps 9", ["network.name", "faulty:Works", "torch.nn.Module"]),
        ("train --set network.name=syntax_error:Net --steps 9", ["syntax_error", "SyntaxError"]),
        ("train --set network.name=resnet --steps 9", ["network.name", "package.module:Class", "resnet"]),
        ("train --set exploration.sampler=faulty:Works --steps 9", ["exploration.sampler", "noise and act"]),
        ("train --set exploration.sampler=faulty:Missing --steps 9", ["faulty", "Missing"]),
        (
            "train --steps 9 --set network.hidden=[100000,100000,100000,100000]",
            ["network.hidden = [100000, 100000, 100000, 100000]", "MiB are free", "make it smaller"],
        ),
        ("train --set stop.solved=false", ["stop.solved", "stop.steps"]),
        ("train --deterministic --workers 2", ["deterministic", "one worker", "2"]),
        ("train --deterministic --minutes 1", ["deterministic", "stop.steps"]),
        ("train --set replay.ratio=-1", ["replay.ratio", "0 or more", "-1"]),
        ("train --set replay.ratio=inf", ["replay.ratio", "finite"]),
        ("train --set replay.ratio=1 --set replay.capacity=0", ["replay.capacity", "at least 1", "0"]),
        (
            "train --workers 2 --set replay.ratio=1 --set replay.capacity=319",
            ["replay.capacity", "2 workers x 32 environments x 5 steps = 320", "319"],
        ),
        (
            "train --set replay.ratio=1 --set replay.capacity=1000000000000",
            ["replay.capacity = 1,000,000,000,000", "MiB are free", "make it smaller"],
        ),
        ("train --deterministic --local 1 --set replay.ratio=1", ["deterministic", "replay.ratio = 0 on children"]),
        ("train --resume nowhere", ["expected a run folder at nowhere", "nothing there"]),
        ("train broken.toml", ["broken.toml", "not a TOML file"]),
        ("train missing.toml", ["missing.toml"]),
        ("train --steps 9 --init missing.pt", ["missing.pt", "train first"]),
        ("train --steps 9 --out no/such/folder/weights.pt", ["no/such/folder", "does not exist"]),
        ("train --steps 9 --out afolder", ["afolder", "is a folder"]),
        ("train --steps 9 --runs broken.toml", ["broken.toml", "choose another folder"]),
        ("evaluate", ["weights.pt", "train first"]),
        ("evaluate afolder", ["afolder"]),
        ("plot nowhere", ["expected a run folder at nowhere", "nothing there"]),
        ("plot afolder", ["afolder", "without config.toml"]),
        ("plot broken.toml", ["broken.toml", "a file"]),
    ],
)
def test_refused(words: str, contents: list[str], command: Command, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    (tmp_path / "syntax_error.py").write_text("def Game(:\n")
    (tmp_path / "broken.toml").write_text("[environment\n")
    (tmp_path / "afolder").mkdir()
    refused(command(*words.split()), *contents)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "weights.pt").exists()


@pytest.mark.parametrize(
    ("words", "contents"),
    [
        ("trian", ["no command 'trian'", "did you mean 'train'"]),
        ("train --sped 3", ["--sped", "--help"]),
        ("train --steps many", ["--steps", "many"]),
        ("train --steps 0", ["--steps", "0"]),
        ("train --steps 3 --set stop.steps=4", ["--steps says 3", "stop.steps=4", "give one of them"]),
        ("evaluate --episodes 0", ["--episodes"]),
        ("plot", ["RUN"]),
        ("check", ["ENV"]),
    ],
)
def test_refused_options(words: str, contents: list[str], command: Command) -> None:
    refused(command(*words.split()), *contents, code=2)


def test_files_that_are_no_weights(command: Command, trained: Trained, tmp_path: Path) -> None:
    whole = (trained.folder / "weights.pt").read_bytes()
    file = tmp_path / "weights.pt"
    for content, words in (
        (whole[: len(whole) // 2], "is damaged or cut short"),
        (b"", "is no such file"),
        (b"hello", "is no such file"),
        (whole[:2000] + bytes(2000) + whole[4000:], "damaged"),
    ):
        file.write_bytes(content)
        refused(command("evaluate", "weights.pt"), "expected a weights file that marl wrote", words)
        refused(command("train", "--steps", "9", "--init", "weights.pt"), "weights.pt", words)
    torch.save({"policy.weight": torch.zeros(2)}, file)
    refused(command("evaluate", "weights.pt"), "other libraries")
    torch.save(torch.zeros(2), file)
    refused(command("evaluate", "weights.pt"), "other libraries")


def test_a_weights_file_that_would_run_code(command: Command, tmp_path: Path) -> None:
    class Mine:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "it ran"),)

    torch.save({"json": Mine()}, tmp_path / "weights.pt")
    refused(command("evaluate", "weights.pt"), "weights.pt")
    assert not (tmp_path / "it ran").exists()


def test_weights_of_another_environment(command: Command, trained: Trained, tmp_path: Path) -> None:
    weights = str(trained.folder / "weights.pt")
    refused(
        command("train", "Acrobot-v1", "--steps", "9", "--init", weights),
        weights,
        "was trained in CartPole-v1 and expects observation shape (4,), action categories (2,)",
        "Acrobot-v1 has observation shape (6,), action categories (3,)",
        "name an environment with the spaces of CartPole-v1, or train from the start in Acrobot-v1",
    )
    assert not (tmp_path / "runs").exists()


def test_runs_that_cannot_go_on(command: Command, copied: Trained) -> None:
    run = str(copied.run)
    as_it_was = "goes on with a run as it was"
    refused(command("train", "CartPole-v1", "--resume", run), as_it_was, "leave out the environment")
    refused(command("train", "--resume", run, "--init", "weights.pt"), as_it_was, "leave out", "--init")
    refused(command("train", "--resume", run, "--seed", "2"), as_it_was, "seed", "--init")
    refused(command("train", "--resume", run, "--deterministic"), as_it_was, "deterministic")
    refused(command("train", "--resume", run, "--set", "algorithm.discount=.9"), as_it_was, "algorithm.discount")
    refused(command("train", "--resume", str(copied.folder)), "expected a run folder", "runs")
    config = copied.run / "config.toml"
    text = config.read_text()
    config.write_text(text + "\n[network]\nhidden = [8]\n")
    refused(command("train", "--resume", run), "config.toml")
    config.write_text(text.replace("discount = 0.98", "discount = 0.5"))
    assert config.read_text() != text
    refused(command("train", "--resume", run), "config.toml", "algorithm", "undo")
    config.write_text(text)
    checkpoint = copied.run / "checkpoint.pt"
    checkpoint.write_bytes((copied.folder / "weights.pt").read_bytes())
    refused(command("train", "--resume", run), "no checkpoint to go on from", "--init")
    checkpoint.write_bytes(b"torn")
    refused(command("train", "--resume", run), "checkpoint.pt", "expected a weights file")
    checkpoint.unlink()
    refused(command("train", "--resume", run), "checkpoint.pt")


def test_a_run_that_another_command_goes_on_with(command: Command, copied: Trained) -> None:
    before = {file: file.read_bytes() for file in copied.run.iterdir() if file.is_file()}
    with writing(copied.run):
        answer = command("train", "--resume", str(copied.run), "--steps", "30000")
        refused(answer, f"{copied.run} is in use: process {os.getpid()} on ", "Wait for its end or stop it")
    assert all(file.read_bytes() == content for file, content in before.items())


def test_debug_shows_the_traceback(command: Command) -> None:
    with pytest.raises(WeightsFileError, match=r"^no file missing\.pt"):
        command("evaluate", "missing.pt", "--debug")


def test_the_real_command_says_the_same(tmp_path: Path) -> None:
    done = python(*MARL, "train", "CartPol-v1", cwd=tmp_path)
    refused(Answer(done.returncode, done.stdout, done.stderr), "did you mean CartPole-v1")
    assert done.stdout == ""


def test_a_place_for_the_weights_that_cannot_be_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is trained."""
    monkeypatch.setattr("os.access", lambda path, mode: path != Path("."))  # whoever may write anywhere runs this too
    refused(command("train", "CartPole-v1", "--steps", "9"), "--out", "cannot be written", "permissions")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_learns_nothing(command: Command, tmp_path: Path) -> None:
    answer = command("train", "CartPole-v1", "--algorithm", "apex_dqn", "--steps", "50", "--workers", "1", *BARE)
    refused(answer, "nothing was learned", "not one update", "replay.start", "--steps")
    assert "Ended (steps)" in answer.out
    assert (tmp_path / "weights.pt").is_file()


def test_a_run_that_learns_nothing_replaces_no_policy(command: Command, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"what was learned before")
    answer = command("train", "CartPole-v1", "--algorithm", "apex_dqn", "--steps", "50", "--workers", "1", *BARE)
    refused(answer, "nothing was learned")
    assert (tmp_path / "weights.pt").read_bytes() == b"what was learned before"
    assert "the policy is in runs/" in answer.out


def test_no_space_while_training(tmp_path: Path) -> None:
    """From some moment on no file can grow: training goes on, and what was saved before stays."""
    words = ("train", "CartPole-v1", "--plain", *ENDLESS, "--set", "checkpoint.every_seconds=0.1")
    reports = ("--set", "report.every_seconds=0.1")
    with started(*MARL, *words, *reports, cwd=tmp_path) as process:
        until(lambda: list(tmp_path.glob("runs/*/checkpoint.pt")), of=process)
        until(learning(tmp_path), of=process)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, 1))
        assert process.stdout is not None
        told = []
        while not ("metrics lost" in "".join(told) and "could not write" in "".join(told)):
            told.append(process.stdout.readline())
            assert told[-1], told
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    run = run_folder(tmp_path)
    assert run is not None
    kept = run.relative_to(tmp_path) / "checkpoint.pt"
    assert process.returncode == 1
    assert re.fullmatch(rf"Error: could not write weights.pt: .*; the weights are in {kept}\n", err)
    assert "training goes on" in "".join(told)
    assert not (tmp_path / "weights.pt").exists()
    assert f"marl evaluate {kept}" in out
    assert not list(tmp_path.glob("**/.*.tmp"))
    again = python(*MARL, "evaluate", str(run / "checkpoint.pt"), "--episodes", "2", "--json", cwd=tmp_path)
    assert again.returncode == 0
