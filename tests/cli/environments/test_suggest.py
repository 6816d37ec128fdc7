"""``marl suggest``, and ``marl train`` where there is no preset."""

import json
from collections.abc import Callable
from pathlib import Path

from marl.config.files import load_config
from tests.cli.conftest import Answer


def test_prints_a_file_that_training_takes(command: Callable[..., Answer], tmp_path: Path) -> None:
    answer = command("suggest", "FrozenLake-v1", "--set", "environment.kwargs.is_slippery=false", "--set", "seed=5")
    assert (answer.code, answer.err) == (0, "")
    (tmp_path / "lake.toml").write_text(answer.out)
    config = load_config(tmp_path / "lake.toml")
    assert config.environment.kwargs == {"is_slippery": False}
    assert (config.seed, config.algorithm.name) == (5, "ppo")


def test_bad_input_is_one_line(command: Callable[..., Answer]) -> None:
    for words, expected in (
        (["Nope-v1"], "no environment named 'Nope-v1'"),
        (["own.toml"], "expected an environment"),
        (["Taxi-v4", "--algorithm", "sac"], ""),
        (["Taxi-v4", "--set", "algorithm.nope=1"], "no setting is called 'algorithm.nope'"),
        ([], "Missing argument"),
    ):
        answer = command("suggest", *words)
        assert (answer.code == 0) == (not expected), words
        assert expected in answer.err
        assert "Traceback" not in answer.err


def test_training_says_what_it_chose(command: Callable[..., Answer]) -> None:
    answer = command("train", "FrozenLake-v1", "--steps", "4000", "--workers", "1", "--plain")
    assert answer.code == 0
    assert "FrozenLake-v1 has no preset" in answer.out + answer.err
    assert "FrozenLake-v1 · ppo" in answer.out + answer.err


def test_training_without_a_look_has_the_defaults(command: Callable[..., Answer]) -> None:
    answer = command("train", "FrozenLake-v1", "--steps", "2000", "--workers", "1", "--no-look", "--json")
    assert answer.code == 0
    run = Path(json.loads(answer.out)["run"])
    assert load_config(run / "config.toml").algorithm.name == "a3c"
