"""``--resume`` and ``--init``: what goes on, what begins anew, and what is refused."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from marl.cluster.runs.assemble import assembled
from marl.cluster.runs.prepare import prepare
from marl.cluster.runs.run import _out_of
from marl.cluster.trainers.make_trainer import on_this_machine
from marl.config.files import load_config
from marl.reports.run_folder import RunFolder
from marl.training.saved.weights_file import WeightsFile, read
from tests.cli.conftest import Answer, Trained
from tests.commands import BARE, ENDLESS, MARL, metrics, run_folder, started, succeed, until

Command = Callable[..., Answer]


def resume(copied: Trained, *words: str) -> dict[str, Any]:
    """Go on with the copied run; the result."""
    out = succeed(*MARL, "train", "--resume", str(copied.run), "--json", *BARE, *words, cwd=copied.folder)
    result: dict[str, Any] = json.loads(out)
    return result


def test_a_resumed_run_begins_with_all_that_was_learned(copied: Trained) -> None:
    before = read(copied.run / "checkpoint.pt")
    config = load_config(copied.run / "config.toml")
    events: Any = SimpleNamespace(note=print, on=lambda event: None)
    parts = prepare(config, on_children=False, init=None, resume=copied.run, resumed=before)
    with assembled(config, parts, RunFolder(copied.run), events, on_this_machine, before) as run:
        after = run._trainer.snapshot()
    for key, tensor in after.tensors.items():
        # Statistics of several workers are summed into one.
        torch.testing.assert_close(tensor, before.tensors[key], rtol=1e-12, atol=0)
    assert after.tensors["optimizer"].abs().sum() > 0
    assert after.tensors["observations"][0, 0] >= 20_000  # how many observations the normaliser has seen
    assert (after.steps, run._meter.episodes, after.updates) == counted(before)
    best = run.checkpoints.best
    assert best is not None
    assert best.mean == read(copied.run / "best.pt").info["selection"]["mean"]


@pytest.mark.parametrize("words", [(), ("--steps", "15000"), ("--set", "stop.episodes=5")])
def test_a_finished_run_has_nothing_to_do(words: tuple[str, ...], command: Command, copied: Trained) -> None:
    before = {file: file.read_bytes() for file in copied.run.iterdir() if file.is_file()}
    answer = command("train", "--resume", str(copied.run), *words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Nothing to do: {copied.run} has reached its end (")
    assert answer.out.endswith(f"give it a later one, such as --steps. The policy is in {copied.run}/best.pt.\n")
    assert answer.out.count("\n") == 1
    assert all(file.read_bytes() == content for file, content in before.items())


def test_a_run_that_was_killed_before_its_weights_were_in_place_goes_on(command: Command, copied: Trained) -> None:
    facts = json.loads((copied.run / "facts.json").read_text())
    del facts["ended"]
    (copied.run / "facts.json").write_text(json.dumps(facts))
    answer = command("train", "--resume", str(copied.run), *BARE)
    assert answer.code == 0
    assert "Ended (steps)" in answer.out


def test_a_solved_run_has_nothing_to_do_either(command: Command, copied: Trained) -> None:
    """Unless it is given another end, which may ask for more."""
    facts = json.loads((copied.run / "facts.json").read_text())
    facts["ended"]["reason"] = "solved"
    (copied.run / "facts.json").write_text(json.dumps(facts))
    config = copied.run / "config.toml"
    config.write_text(config.read_text().replace("steps = 20000\n", ""))
    answer = command("train", "--resume", str(copied.run), "--json")
    assert answer.code == 0
    result = json.loads(answer.out)
    assert (result["reason"], result["solved"]) == ("finished", True)
    assert (result["steps"], result["episodes"]) == counted(read(copied.run / "checkpoint.pt"))[:2]
    assert result["return_mean"] == pytest.approx(copied.result["return_mean"])


def test_counters_and_curves_go_on(copied: Trained) -> None:
    before = read(copied.run / "checkpoint.pt")
    earlier = metrics(copied.folder)
    result = resume(copied, "--steps", "80000")  # longer than any episode
    after = read(copied.run / "checkpoint.pt")
    assert 80_000 <= result["steps"] < 160_000
    for ours, theirs in zip(counted(after), counted(before), strict=True):
        assert ours > theirs
    assert result["seconds"] > before.info["seconds"]
    # Hogwild workers may lose a few counts to each other, not most.
    made = after.info["updates"] - before.info["updates"]
    assert after.tensors["optimizer_steps"] - before.tensors["optimizer_steps"] > 0.5 * made
    assert after.tensors["observations"][0, 0] >= 80_000
    lines = metrics(copied.folder)
    kept = [line for line in earlier if line["seconds"] <= before.info["seconds"]]
    assert lines[: len(kept)] == kept
    assert_undoubled(lines)
    assert (copied.run / "best.pt").is_file()


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    once = ("--set", "checkpoint.every_seconds=0.5")
    with started(*MARL, "train", "CartPole-v1", *ENDLESS, *BARE, *once, cwd=tmp_path) as process:
        until(lambda: list(tmp_path.glob("runs/*/checkpoint.pt")), of=process)
        written = len(metrics(tmp_path))
        until(lambda: len(metrics(tmp_path)) > written + 4, of=process)  # that the checkpoint knows nothing of
        process.kill()
    run = run_folder(tmp_path)
    assert run is not None
    saved = read(run / "checkpoint.pt")
    limit = saved.info["steps"] + 5_000
    words = ("--steps", str(limit), "--set", "stop.solved=false", "--json", *BARE)
    result = json.loads(succeed(*MARL, "train", "--resume", str(run), *words, cwd=tmp_path))
    assert result["reason"] == "steps"
    assert result["steps"] >= limit
    assert result["seconds"] > saved.info["seconds"]
    assert_undoubled(metrics(tmp_path))


def test_a_new_run_starts_from_weights(trained: Trained, command: Command, tmp_path: Path) -> None:
    weights = str(trained.folder / "weights.pt")
    normalised = ("--set", "environment.normalize_observations=true")
    # A step too small to change a weight shows what it began with.
    still = ("--set", "algorithm.learning_rate=1e-30", "--set", "evaluation.episodes=1")
    words = ("train", "CartPole-v1", "--init", weights, "--steps", "800", *normalised, *still, *BARE)
    assert command(*words).code == 0
    ours, theirs = read(tmp_path / "weights.pt"), read(weights)
    assert ours.info["steps"] < theirs.info["steps"]  # its count began at 0
    for key, tensor in theirs.tensors.items():
        if key.startswith("network."):
            assert torch.equal(ours.tensors[key], tensor), key
    assert ours.tensors["normalizer"][0] > theirs.tensors["normalizer"][0]  # it has seen more since


def test_a_resumed_run_writes_its_weights_where_it_was_told_to_before(command: Command, tmp_path: Path) -> None:
    short = ("--set", "stop.solved=false", "--set", "evaluation.episodes=0", *BARE)
    assert command("train", "CartPole-v1", "--no-look", "--steps", "500", "--out", "mine.pt", *short).code == 0
    found = run_folder(tmp_path)
    assert found is not None
    before = (tmp_path / "mine.pt").read_bytes()
    answer = command("train", "--resume", str(found), "--steps", "3000", "--json", *BARE)
    assert json.loads(answer.out)["weights"] == "mine.pt"
    assert (tmp_path / "mine.pt").read_bytes() != before
    assert not (tmp_path / "weights.pt").exists()
    answer = command("train", "--resume", str(found), "--steps", "6000", "--out", "other.pt", "--json", *BARE)
    assert json.loads(answer.out)["weights"] == "other.pt"


def test_a_strangers_run_says_nowhere_where_to_write() -> None:
    told = WeightsFile({}, {"out": "/etc/passwd"})
    assert _out_of(told) == _out_of(None) == Path("weights.pt")
    assert _out_of(told._replace(own=True)) == Path("/etc/passwd")
    assert _out_of(told._replace(own=True, info={})) == Path("weights.pt")


def counted(file: WeightsFile) -> tuple[int, int, int]:
    """Steps, episodes and updates in a checkpoint."""
    return file.info["steps"], file.info["meter"]["episodes"], file.info["updates"]


def assert_undoubled(lines: list[dict[str, Any]]) -> None:
    """No stretch of the curve is there twice."""
    for earlier, later in itertools.pairwise(lines):
        assert earlier["steps"] <= later["steps"]
        assert earlier["updates"] <= later["updates"]
        assert earlier["episodes"] <= later["episodes"]
        assert earlier["seconds"] < later["seconds"]
