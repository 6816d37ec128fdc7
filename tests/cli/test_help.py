"""Help and completion: quick, complete, and in words that a newcomer knows."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from marl.algorithms.algorithm_class import ALGORITHMS
from marl.cli.main import COMMANDS, cli
from marl.exchanges.names import AUTO, EXCHANGES
from tests.cli.conftest import Answer
from tests.commands import MARL, ROOT, TEST_ENV, succeed

HEAVY = {"torch", "numpy", "gymnasium", "matplotlib", "rich", "tensorboard", "multiprocessing", "marl.config"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"], ["bench", "-h"], ["evaluate", "-h"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = "import sys\nfrom marl.cli.main import main\ntry: main()\nfinally: print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert "click" in loaded
    assert not loaded & HEAVY


def test_help_names_every_command(command: Callable[..., Answer]) -> None:
    answer = command("--help")
    assert (answer.code, answer.err) == (0, "")
    for name, text in COMMANDS.items():
        assert name in answer.out
        assert text in answer.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str, command: Callable[..., Answer]) -> None:
    answer = command(name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert f"{name} [OPTIONS]" in answer.out


def test_scripts_have_help_too(tmp_path) -> None:
    assert "--episodes" in succeed(*TEST_ENV, "-h", cwd=tmp_path)
    assert "python -m marl" in succeed(*MARL, "--help", cwd=tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("marl ", set(COMMANDS)),
        ("marl tr", {"train"}),
        ("marl re", {"request", "revoke"}),
        ("marl train Cart", {"CartPole-v1"}),
        ("marl check Luna", {"LunarLander-v3", "LunarLanderContinuous-v3"}),
        ("marl train --set algorithm.lea", {"algorithm.learning_rate="}),
        ("marl train --algorithm ", {"a3c", "ppo", "impala", "apex_dqn", "sac"}),
        ("marl parent --algorithm ap", {"apex_dqn"}),
        ("marl parent --exchange ", {"weights", "gradients", "pairwise", "experience", "observations", "auto"}),
        ("marl train --set exploration.", {"exploration.sampler=", "exploration.novelty="}),
        ("marl train --set stop.", {"stop.solved=", "stop.steps=", "stop.minutes=", "stop.episodes="}),
        ("marl train --res", {"--resume"}),
    ],
)
def test_completion(line: str, expected: set[str]) -> None:
    assert complete(line) == expected


@pytest.mark.parametrize("name", ["train", "parent", "a3c_single_machine.py", "init_parent.py"])
def test_every_algorithm_and_exchange_is_named_where_one_trains(
    name: str, command: Callable[..., Answer], tmp_path: Path
) -> None:
    script = name.endswith(".py")
    said = succeed(str(ROOT / name), "--help", cwd=tmp_path) if script else command(name, "--help").out
    text = " ".join(said.split())
    assert "--resume" in text
    assert f"How to learn: {', '.join(ALGORITHMS)}, or your own" in text
    assert f"[{'|'.join([*EXCHANGES, AUTO])}]" in text


def test_completion_of_every_environment_with_a_preset() -> None:
    names = {file.stem for file in (ROOT / "marl" / "presets").glob("*.toml")}
    assert complete("marl train ") >= names


def test_a_shell_is_told() -> None:
    shell = {"_MARL_COMPLETE": "bash_complete", "COMP_WORDS": "marl tr", "COMP_CWORD": "1"}
    code = "import sys\nsys.argv = ['marl']\nfrom marl.cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **shell}
    )
    assert done.stdout == "plain,train\n"


def complete(line: str) -> set[str]:
    """What a shell would offer at the end of the line."""
    *words, last = line.split(" ")
    return {offer.value for offer in ShellComplete(cli, {}, "marl", "_MARL_COMPLETE").get_completions(words[1:], last)}
