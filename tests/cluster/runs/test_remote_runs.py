"""A run whose folder is copied to a URI, and goes on from there."""

from pathlib import Path

import pytest

from marl.api import train
from marl.errors import RunFolderError

SETTINGS = {
    "node.workers": 1,
    "evaluation.episodes": 0,
    "evaluation.final_episodes": 0,
    "report.sinks": ["metrics", "events"],
    "stop.solved": False,
}


def test_a_run_goes_on_from_the_copy_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "first")
    before = train("CartPole-v1", settings={**SETTINGS, "stop.steps": 2000, "report.runs": there.as_uri()}, live=False)
    name = before.run.name
    assert before.run.resolve() == tmp_path / "first" / "runs" / name
    copy = there / name
    for file in ("config.toml", "checkpoint.pt", "facts.json", "metrics.jsonl", "events.jsonl", "curve.png"):
        assert (copy / file).read_bytes() == (before.run.resolve() / file).read_bytes(), file
    monkeypatch.chdir(tmp_path / "second")
    uri = f"{there.as_uri()}/{name}"
    after = train(resume=uri, settings={"stop.steps": before.steps + 2000}, live=False)
    assert after.run == Path("runs", name)
    assert after.steps >= before.steps + 2000
    assert (copy / "checkpoint.pt").read_bytes() == (after.run / "checkpoint.pt").read_bytes()
    with pytest.raises(RunFolderError, match=f"--resume runs/{name} goes on with that one"):
        train(resume=uri, live=False)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    place = (tmp_path / "file").as_uri() + "/runs"
    with pytest.raises(RunFolderError, match="expected a place for run folders at file:"):
        train("CartPole-v1", settings={**SETTINGS, "stop.steps": 9, "report.runs": place}, live=False)
    assert not (tmp_path / "runs").exists()
