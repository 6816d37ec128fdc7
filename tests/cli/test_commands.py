"""Each documented command, really run; those whose process is not the subject, within this one."""

import itertools
import json
import statistics
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marl.reports.run_lock import LOCK
from marl.training.saved.weights_file import read
from tests.cli.conftest import Answer, Trained
from tests.commands import BARE, MARL, TEST_ENV, run_folder, succeed

Command = Callable[..., Answer]
PNG = b"\x89PNG\r\n\x1a\n"


def test_training_says_how_it_ended(trained: Trained) -> None:
    result = trained.result
    assert result["reason"] == "steps"
    assert result["solved"] is False
    assert result["weights"] == "weights.pt"
    assert trained.folder / result["run"] == trained.run
    assert 20_000 <= result["steps"] < 40_000  # the count began at 0 and ended soon
    assert result["episodes"] > 50
    assert result["updates"] > 50
    assert result["steps_per_second"] > 0
    assert 9 < result["return_mean"] < 500
    if result["evaluation_mean"] is not None:
        assert 9 < result["evaluation_mean"] <= 500
        assert result["evaluation_interval"][0] <= result["evaluation_mean"] <= result["evaluation_interval"][1]
    if result["evaluation_lacking"]:  # a very busy machine
        assert result["evaluation_lacking"].startswith("they take longer than")
    else:
        assert result["evaluation_episodes"] == 100
    assert result["failure"] is None
    assert 0 < result["first_update_seconds"] < result["seconds_from_process_start"]
    assert result["training_started_at"] < result["first_update_at"] < result["training_ended_at"]
    assert all(shares.keys() == {"step", "act", "learn"} for shares in result["seconds_per_worker"])


def test_training_leaves_a_run_folder(trained: Trained) -> None:
    config = tomllib.loads((trained.run / "config.toml").read_text())
    assert config["seed"] == 1
    assert config["stop"]["steps"] == 20_000
    assert config["environment"]["id"] == "CartPole-v1"
    assert config["environment"]["normalize_observations"] is True
    facts = json.loads((trained.run / "facts.json").read_text())
    assert facts["seed"] == 1
    assert "torch" in facts["versions"]
    assert (trained.run / "curve.png").read_bytes().startswith(PNG)
    for name in ("checkpoint.pt", "best.pt"):
        assert (trained.run / name).stat().st_size > 10_000
    assert [path.name for path in trained.run.glob(".*")] == [LOCK]  # no temporary file
    ended = facts["ended"]
    assert (ended["reason"], ended["steps"]) == ("steps", trained.result["steps"])
    assert ended.get("evaluation", {}).get("mean") == trained.result["evaluation_mean"]


def test_the_weights_file_says_what_its_weights_earn(trained: Trained) -> None:
    info = read(trained.folder / "weights.pt").info
    assert info.get("evaluation", {}).get("mean") == trained.result["evaluation_mean"]
    assert info.get("evaluation", {}).get("episodes", 0) == trained.result["evaluation_episodes"]
    assert info["selection"]["episodes"] == 20  # the best of several looks: no measure of the weights


def test_training_leaves_metrics(trained: Trained) -> None:
    lines = [json.loads(line) for line in (trained.run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["steps"] == trained.result["steps"]
    assert lines[-1]["episodes"] == trained.result["episodes"]
    assert len(lines) > 1
    for key in ("steps", "seconds", "episodes", "updates"):
        assert increasing([line[key] for line in lines])
    assert {"policy_loss", "value_loss", "entropy", "gradient_norm", "learning_rate"} <= lines[-1]["metrics"].keys()


def test_training_leaves_tensorboard_events(trained: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained.run / "tensorboard")).Reload()
    tags = events.Tags()
    names = [*tags["scalars"], *tags["tensors"]]
    assert any("return" in name for name in names), tags
    assert any("entropy" in name for name in names), tags
    assert {"evaluation/return_mean", "evaluation/final_return_mean"} <= set(names)
    assert {"settings/text_summary", "settings"} & set(names)


def test_evaluation_prints_one_json_object(trained: Trained, tmp_path: Path) -> None:
    weights = str(trained.folder / "weights.pt")
    result: dict[str, Any] = json.loads(succeed(*TEST_ENV, weights, "--episodes", "10", "--json", cwd=tmp_path))
    assert result["episodes"] == 10
    assert result["minimum"] <= result["quartile_1"] <= result["median"] <= result["quartile_3"] <= result["maximum"]
    assert result["minimum"] <= result["ci_low"] <= result["mean"] <= result["ci_high"] <= result["maximum"]
    assert result["std"] == pytest.approx(statistics.pstdev(result["returns"]))
    assert result["mean"] == pytest.approx(statistics.fmean(result["returns"]))
    assert not list(tmp_path.iterdir())  # no picture unless it was asked for


def test_evaluation_shows_and_draws(trained: Trained, command: Command, tmp_path: Path) -> None:
    words = ("evaluate", str(trained.run / "best.pt"), "--episodes", "20", "--sampled", "--picture", "returns.png")
    answer = command(*words)
    assert (answer.code, answer.err) == (0, "")
    assert "mean" in answer.out
    assert "median" in answer.out
    assert (tmp_path / "returns.png").read_bytes().startswith(PNG)


def test_plot(trained: Trained, command: Command, tmp_path: Path) -> None:
    run = str(trained.run)
    for words, name in (((run, "--out", "one.png"), "one.png"), ((run, run), "runs.png")):
        answer = command("plot", *words)
        assert (answer.code, answer.err) == (0, "")
        assert name in answer.out
    for name in ("one.png", "runs.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_check(command: Command) -> None:
    answer = command("check", "CartPole-v1", "--seconds", "0.1")
    assert (answer.code, answer.err) == (0, "")
    assert "CartPole-v1 is fit for training" in answer.out
    assert answer.out.count("steps/s") == 2


def test_check_leaves_texts_out_as_training_does(command: Command) -> None:
    name = "tests.environments.test_look:Told"
    answer = command("check", name, "--seconds", "0.1")
    assert (answer.code, answer.err) == (0, "")
    assert "warning: mission, more/word: texts are nothing to learn from" in answer.out
    assert f"{name} is fit for training" in answer.out


def test_bench(tmp_path: Path) -> None:
    out = succeed(*MARL, "bench", "CartPole-v1", "--seconds", "1", "--workers", "1", cwd=tmp_path)
    assert "environment steps/s while training" in out
    assert "worker 0: step" in out
    assert not list(tmp_path.iterdir())


def test_an_environment_of_ones_own(tmp_path: Path) -> None:
    """A factory in a module in the current folder, which the workers must find as well."""
    (tmp_path / "games.py").write_text(GAME)
    # Of a3c, to whom 4,000 steps are many updates: what a look chooses would make one or two.
    words = ("train", "games:make_game", "--no-look", "--steps", "4000", "--workers", "2")
    words += ("--set", "environment.kwargs={size=3}")
    out = succeed(*MARL, *words, *BARE, "--json", cwd=tmp_path)
    assert json.loads(out)["episodes"] > 100
    assert run_folder(tmp_path) is not None
    result = json.loads(succeed(*TEST_ENV, "weights.pt", "--episodes", "5", "--json", cwd=tmp_path))
    assert 0 < result["mean"] <= 1


def increasing(numbers: list[float]) -> bool:
    """Whether none is less than the one before."""
    return all(earlier <= later for earlier, later in itertools.pairwise(numbers))


GAME = '''
import gymnasium
import numpy as np


class Game(gymnasium.Env):
    """Walk to the right end."""

    def __init__(self, size):
        self.size = size
        self.observation_space = gymnasium.spaces.Box(0, 1, (size,))
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = 0, 0
        return self._look(), {}

    def step(self, action):
        self.place = min(max(self.place + (1 if action else -1), 0), self.size - 1)
        self.time += 1
        won = self.place == self.size - 1
        return self._look(), float(won), won, self.time == 20, {}

    def _look(self):
        return np.eye(self.size, dtype=np.float32)[self.place]


def make_game(size):
    return Game(size)
'''
