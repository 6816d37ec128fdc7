"""``marl evaluate``: what it prints, and what it refuses before it plays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from marl import api
from marl.acting.policy import Policy
from marl.api import Evaluation
from marl.cli.evaluate import evaluate
from marl.cluster.find_spaces import find_spaces
from marl.config.files import load_config
from marl.config.settings import from_tree, to_tree
from marl.data.stored import as_plain
from marl.errors import ConfigError, WeightsFileError
from marl.reports.plots.distribution import summarize
from marl.training.saved.weights_file import network_tensors, to_bytes
from tests.plain_spaces import plain_spaces

RETURNS = np.array([0.25, -0.0, 1.0])


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The weights that were played so far; every policy earns ``RETURNS``."""
    monkeypatch.chdir(tmp_path)
    files: list[str] = []

    def answer(weights: str, *, greedy: bool | None, **unused: Any) -> Evaluation:
        files.append(weights)
        return Evaluation(RETURNS, summarize(RETURNS, cut=1), "my_package:Snake-v0", "ppo", greedy is not False)

    monkeypatch.setattr(api, "evaluate", answer)
    return files


def evaluated(*words: str) -> str:
    result = CliRunner().invoke(evaluate, list(words))
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize("words", [["--picture", "missing/x.png"], ["--picture", "."]])
def test_a_place_for_no_picture_is_refused_before_any_episode(words: list[str], played: list[str]) -> None:
    with pytest.raises(ConfigError, match="--picture: "):
        evaluated(*words)
    assert played == []


def test_json_says_what_was_played_and_every_return(played: list[str]) -> None:
    said = json.loads(evaluated("w.pt", "--json", "--sampled", "--seed", "3"))
    assert (said["environment"], said["algorithm"]) == ("my_package:Snake-v0", "ppo")
    assert (said["seed"], said["greedy"], said["episodes"], said["cut"]) == (3, False, 3, 1)
    assert str(said["returns"]) == "[0.25, 0.0, 1.0]"
    assert list(Path().iterdir()) == []


def test_json_and_a_picture_that_is_asked_for(played: list[str]) -> None:
    json.loads(evaluated("w.pt", "--json", "--picture", "x.png"))
    assert [path.name for path in Path().iterdir()] == ["x.png"]


def test_returns_up_to_one_are_told_apart(played: list[str]) -> None:
    said = evaluated("w.pt", "--no-picture")
    assert "median         0.2500\n" in said
    assert "-0" not in said


def test_a_run_folder_stays_as_it_is(played: list[str]) -> None:
    run = Path("runs/one")
    run.mkdir(parents=True)
    for name in ("best.pt", "config.toml", "facts.json"):
        (run / name).touch()
    before = sorted(run.iterdir())
    assert evaluated("runs/one/best.pt").endswith("Picture: best.png\n")
    assert Path("best.png").is_file()
    assert sorted(run.iterdir()) == before
    Path("w.pt").touch()
    Path("kept").mkdir()
    assert evaluated("kept/w.pt").endswith("Picture: kept/w.png\n")


def test_another_environment_with_the_same_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own arguments count, not those of the training."""
    monkeypatch.chdir(tmp_path)
    counting = "tests.fakes:counting"
    kwargs = {"length": 2}
    config, seen = from_tree({"environment": {"id": counting, "kwargs": kwargs}}), plain_spaces((3,), num_actions=3)
    network = config.algorithm.build_network(seen, config.network, 1)
    info = {"config": to_tree(config), "spaces": as_plain(seen)}
    Path("w.pt").write_bytes(to_bytes(network_tensors(network), info))
    words = ("w.pt", "--allow", "tests", "--episodes", "2", "--json")
    assert json.loads(evaluated(*words))["returns"] == [3.0, 3.0]
    elsewhere = json.loads(evaluated(*words, "--env", counting))
    assert (elsewhere["returns"], elsewhere["environment"]) == ([6.0, 6.0], counting)
    with pytest.raises(
        WeightsFileError,
        match=f"trained in {counting} and expects observation shape .*, CartPole-v1 has .* the spaces of {counting}",
    ):
        evaluated(*words, "--env", "CartPole-v1")


@pytest.mark.parametrize(
    ("says", "words", "greedy"),
    [(True, [], True), (False, [], False), (True, ["--sampled"], False), (False, ["--most-likely"], True)],
)
def test_a_file_is_played_as_the_evaluation_that_chose_it(
    says: bool, words: list[str], greedy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config("CartPole-v1", {"evaluation.greedy": says})
    spaces = find_spaces(config)
    network = config.algorithm.build_network(spaces, config.network, 1)
    info = {"config": to_tree(config), "spaces": as_plain(spaces)}
    Path("w.pt").write_bytes(to_bytes(network_tensors(network), info))
    asked: list[bool] = []
    draw = Policy.draw

    def drawn(self: Policy, *args: Any, greedy: bool, **more: Any) -> Any:
        asked.append(greedy)
        return draw(self, *args, greedy=greedy, **more)

    monkeypatch.setattr(Policy, "draw", drawn)
    assert json.loads(evaluated("w.pt", "--episodes", "1", "--json", *words))["greedy"] == greedy
    assert set(asked) == {greedy}
