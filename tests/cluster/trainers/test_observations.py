"""Runs whose children only step, as the real commands start them."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from marl.config.files import load_config
from marl.errors import ConfigError
from marl.training.saved.weights_file import read
from tests.commands import (
    BARE,
    ENDLESS,
    MARL,
    PATIENCE_S,
    metrics,
    named,
    nothing_left,
    python,
    run_folder,
    started,
    succeed,
    until,
)

STEPPING = ("--exchange", "observations", "--seed", "1")
PROBE = ("tests.fakes:ActionByObservation", "--set", "environment.per_worker=8", "--set", "algorithm.t_max=4")


def trained(folder: Path, *words: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(succeed(*MARL, "train", *words, *STEPPING, "--json", *BARE, cwd=folder))
    return result


@pytest.mark.slow
def test_two_children_step_and_their_observations_are_normalised(tmp_path: Path) -> None:
    normalised = ("--set", "environment.normalize_observations=true", "--set", "evaluation.episodes=0")
    words = ("CartPole-v1", "--algorithm", "impala", "--local", "2", "--steps", "6000")
    result = trained(tmp_path, *words, *normalised)
    assert result["steps"] >= 6000
    assert result["updates"] > 0
    assert result["episodes"] > 0
    folder = run_folder(tmp_path)
    assert folder is not None
    checkpoint = read(folder / "checkpoint.pt")
    count, steps = float(checkpoint.tensors["observations"].flatten()[0]), checkpoint.info["steps"]
    assert steps <= count <= 1.2 * steps  # resets of a step's own are observed too
    assert checkpoint.info["version"] > 0
    children = json.loads((folder / "facts.json").read_text())["children"].values()
    assert [each["workers"] <= each["cores"] and {"system", "torch"} <= each.keys() for each in children] == [
        True,
        True,
    ]


def test_a_killed_worker_is_replaced_and_its_successor_gets_actions(tmp_path: Path) -> None:
    words = ("train", "CartPole-v1", "--algorithm", "impala", "--workers", "1", *STEPPING, "--plain")
    with started(*MARL, *words, *ENDLESS, *BARE, cwd=tmp_path) as process:
        steps = lambda: (metrics(tmp_path) or [{"steps": 0}])[-1]["steps"]  # noqa: E731
        until(lambda: steps() > 0, of=process)
        (worker,) = until(lambda: named(process, "marl worker"), of=process)
        os.kill(worker, signal.SIGKILL)
        until(lambda: set(named(process, "marl worker")) - {worker}, of=process)
        until(lambda: any(line["restarts"] == 1 for line in metrics(tmp_path)), of=process)
        before = steps()
        until(lambda: steps() > before + 1000, of=process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert (process.returncode, err) == (128 + signal.SIGINT, "")


def test_a_broken_environment_is_named_in_one_line(tmp_path: Path) -> None:
    done = python(
        *MARL, "train", "tests.fakes:Faulty", "--set", "environment.kwargs={fault='nan'}", *STEPPING, "--algorithm",
        "impala", "--workers", "1", "--steps", "1000", "--plain", *BARE, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert "observation nan is not finite" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_odd_number_of_environments_is_refused_in_one_line(tmp_path: Path) -> None:
    words = ("CartPole-v1", "--algorithm", "impala", "--steps", "100", "--set", "environment.per_worker=7")
    done = python(*MARL, "train", *words, *STEPPING, "--workers", "1", *BARE, cwd=tmp_path)
    assert done.returncode != 0
    assert "an even number with exchange.name = 'observations'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert run_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("environment.normalize_rewards", True, "use environment.reward_scale"),
        ("exchange.inference_batch", 0, "at least 1"),
        ("exchange.inference_wait_us", -1.0, "0 or more"),
        ("deterministic", True, "needs exchange.name = 'weights'"),
    ],
)
def test_what_cannot_work_is_refused(key: str, value: Any, says: str) -> None:
    settings = {"algorithm.name": "impala", "exchange.name": "observations", "node.workers": 1, key: value}
    with pytest.raises(ConfigError, match=says):
        load_config("CartPole-v1", settings)
