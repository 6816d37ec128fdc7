"""A study from its file to its report; what trains is replaced by what would be left of it."""

import csv
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from marl.errors import ConfigError, MarlError, RunFolderError
from marl.reports.run_lock import writing
from marl.studies import study as studies
from marl.studies.plan import Planned
from marl.studies.schedule import Ended
from marl.studies.study import StudyResult, study
from tests.studies.files import SMALL, finish, quick, written

Do = Callable[[Planned], str]  # what happens to a run: why it failed, or ""


class Player:
    """Stands in for ``play``: brings runs to their ends at once."""

    def __init__(self) -> None:
        self.played: list[str] = []
        self.do: Do = self.finish

    def finish(self, run: Planned) -> str:
        finish(run)
        return ""

    def __call__(
        self,
        runs: Sequence[Planned],
        unused_slots: int,
        unused_allow: Sequence[str],
        stopped: threading.Event,
        *,
        began: Callable[[Planned], None],
        ended: Callable[[Ended], None],
    ) -> None:
        self.played = []
        for run in runs:
            began(run)
            self.stopped = stopped
            failure = self.do(run)
            if stopped.is_set():
                return
            self.played.append(run.name)
            ended(Ended(run, failure))


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Player:
    quick(monkeypatch, pictures=False)
    player = Player()
    monkeypatch.setattr(studies, "play", player)
    return player


def made(tmp_path: Path, text: str = SMALL, **words: Any) -> tuple[StudyResult, list[str]]:
    lines: list[str] = []
    result = study(written(tmp_path, text), runs=tmp_path / "runs", say=lines.append, **words)
    return result, lines


ALL = ["slow, seed 1", "fast, seed 1", "slow, seed 2", "fast, seed 2"]


def test_all_runs_are_made_once(tmp_path: Path, player: Player) -> None:
    result, lines = made(tmp_path)
    assert player.played == ALL
    assert (result.finished, result.planned, result.failures, result.signal) == (4, 4, [], None)
    assert lines[0] == f"Study in {tmp_path / 'runs/small'}/: 4 runs"
    assert lines[1] == f"slow, seed 1 begins: {tmp_path / 'runs/small/runs/slow/children-0/seed-1'}"
    assert lines[2] == "slow, seed 1 ended (steps) after 3.0 s, 3,000 steps, score 100 [1 of 4]"
    assert "Of 4 runs, 4 ended" in result.report.read_text()
    again, lines = made(tmp_path)
    assert (player.played, again.finished) == ([], 4)
    assert lines == [f"Study in {tmp_path / 'runs/small'}/: 4 runs, 4 of them finished"]


def test_more_seeds_and_variants_are_made_later(tmp_path: Path, player: Player) -> None:
    made(tmp_path)
    result, _ = made(tmp_path, SMALL.replace("[1, 2]", "[1, 2, 3]") + "[variants.new]\nalgorithm.t_max = 7\n")
    assert player.played == ["new, seed 1", "new, seed 2", "slow, seed 3", "fast, seed 3", "new, seed 3"]
    assert (result.finished, result.planned) == (9, 9)


def test_only_some_are_made(tmp_path: Path, player: Player) -> None:
    result, lines = made(tmp_path, only=["fast"])
    assert player.played == ["fast, seed 1", "fast, seed 2"]
    assert (result.finished, result.planned) == (2, 4)
    assert "4 runs" in lines[0]
    assert "finished" not in lines[0]
    made(tmp_path, only=["fast", "slo"])
    assert player.played == ["slow, seed 1", "slow, seed 2"]
    with pytest.raises(ConfigError, match=r"--only: expected a part of one of 'slow', 'fast', got 'fats'$"):
        made(tmp_path, only=["fast", "fats"])


def test_a_run_that_fails_is_told_and_tried_again(tmp_path: Path, player: Player) -> None:
    player.do = lambda run: "no such game" if run.name == "fast, seed 1" else player.finish(run)
    result, lines = made(tmp_path)
    assert player.played == ALL
    assert list(result.failures) == ["fast, seed 1 failed: no such game"]
    assert lines[4] == "fast, seed 1 failed: no such game"
    assert "Of 4 runs, 3 ended, 0 unfinished, 1 not begun." in result.report.read_text()
    player.do = player.finish
    result, _ = made(tmp_path)
    assert (player.played, result.failures, result.finished) == (["fast, seed 1"], [], 4)


def test_a_run_that_ended_badly_is_told_and_not_tried_again(tmp_path: Path, player: Player) -> None:
    player.do = lambda run: player.finish(run) or "nothing was learned" * (run.name == "fast, seed 1")
    result, lines = made(tmp_path)
    assert list(result.failures) == ["fast, seed 1 failed: nothing was learned"]
    assert lines[4] == "fast, seed 1 failed: nothing was learned"
    assert lines[5].startswith("fast, seed 1 ended (steps) after 3.0 s")
    assert result.finished == 4
    assert made(tmp_path)[0].failures == []
    assert player.played == []


@pytest.mark.parametrize("name", ["runs.csv", "report.md"])
def test_a_report_that_cannot_be_written_stops_no_run(tmp_path: Path, player: Player, name: str) -> None:
    (tmp_path / "runs/small" / name).mkdir(parents=True)
    lines: list[str] = []
    with pytest.raises(RunFolderError, match=r"to write the report in .*small, got .*: free .* with --report-only$"):
        study(written(tmp_path), runs=tmp_path / "runs", say=lines.append)
    assert player.played == ALL
    assert any(line.startswith("no report for now: ") and name in line for line in lines)
    (tmp_path / "runs/small" / name).rmdir()
    assert made(tmp_path, report_only=True)[0].finished == 4


def test_a_signal_ends_it_with_a_report_and_it_goes_on(tmp_path: Path, player: Player) -> None:
    def interrupted(run: Planned) -> str:
        if run.name != "fast, seed 1":
            return player.finish(run)
        folder = finish(run, reason="stopped")
        (folder / "checkpoint.pt").touch()
        os.kill(os.getpid(), signal.SIGINT)
        assert player.stopped.wait(10)
        return ""

    player.do = interrupted
    result, _ = made(tmp_path)
    assert (result.signal, result.finished) == (signal.SIGINT, 1)
    assert "Of 4 runs, 1 ended, 1 unfinished, 2 not begun." in result.report.read_text()
    with open(result.folder / "runs.csv") as file:
        assert [line["state"] for line in csv.DictReader(file)] == ["finished", "unfinished", "missing", "missing"]
    player.do = lambda run: "stays as it is"
    _, lines = made(tmp_path)
    assert player.played == ALL[1:]
    assert lines[1].startswith("fast, seed 1 goes on: ")
    assert lines[3].startswith("slow, seed 2 begins: ")


def test_a_report_alone(tmp_path: Path, player: Player) -> None:
    with pytest.raises(RunFolderError, match=r"expected the runs of .*small.toml in .*, got nothing there"):
        made(tmp_path, report_only=True)
    assert not (tmp_path / "runs").exists()
    result, _ = made(tmp_path)
    result.report.unlink()
    player.played = []
    again, lines = made(tmp_path, report_only=True)
    assert (player.played, lines, again.finished) == ([], [], 4)
    assert result.report.exists()


def test_what_was_changed_by_hand_stops_it_before_anything_starts(tmp_path: Path, player: Player) -> None:
    made(tmp_path)
    player.played = []
    before = sorted((tmp_path / "runs").rglob("*"))
    with pytest.raises(RunFolderError, match=r"slow, seed 1: .*stop.steps is 3000, the study says 9: undo the change"):
        made(tmp_path, SMALL.replace("3000", "9") + "[variants.new]\n")
    with pytest.raises(ConfigError, match="no setting is called"):
        made(tmp_path, SMALL + "[grid]\nalgorithm.learnin_rate = [1]\n")
    assert player.played == []
    assert sorted((tmp_path / "runs").rglob("*")) == before


def test_two_at_once(tmp_path: Path, player: Player) -> None:
    made(tmp_path)
    with (
        writing(tmp_path / "runs/small"),
        pytest.raises(RunFolderError, match=r"small is in use: .* Wait for its end or stop it, then try again$"),
    ):
        made(tmp_path)


def test_no_place_for_the_folder(tmp_path: Path, player: Player) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(MarlError, match=r"runs"):
        made(tmp_path)
