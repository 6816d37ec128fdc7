"""Which runs start when, on which cores, and what is said of those that end badly; processes that train nothing."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from marl.studies import schedule
from marl.studies.plan import Planned
from marl.studies.schedule import Ended, play, shares, slots_for
from tests.studies.files import planned, written

STUB = (sys.executable, "-S", str(Path(__file__).with_name("stub.py")))
HEAD = 'base = "CartPole-v1"\nseeds = [1, 2]\n[settings]\nstop.steps = 3000\n'


@pytest.fixture(autouse=True)
def _stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "COMMAND", STUB)


def played(runs: list[Planned], slots: int = 1, stop_after: int | None = None) -> tuple[list[str], list[Ended]]:
    """Records in order which runs began and ended. Stops the study after a given number of beginnings."""
    stopped, began, ends = threading.Event(), list[str](), list[Ended]()

    def begins(run: Planned) -> None:
        began.append(run.name)
        if len(began) == stop_after:
            stopped.set()

    play(runs, slots, (), stopped, began=begins, ended=ends.append)
    return began, ends


def job(run: Planned) -> dict[str, Any]:
    (line,) = (run.place / "jobs.jsonl").read_text().splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_every_run_is_told_once_what_it_is(tmp_path: Path, slots: int) -> None:
    runs = planned(tmp_path, f"{HEAD}[grid]\nalgorithm.learning_rate = [1e-3, 1e-2]\n")
    began, ends = played(runs, slots)
    assert began == [run.name for run in runs]
    assert sorted(each.planned.name for each in ends) == sorted(began)
    assert not any(each.failure for each in ends)
    told = job(runs[3])
    assert (told["base"], told["children"], told["resumable"]) == ("CartPole-v1", 0, True)
    assert told["settings"] == {"stop.steps": 3000, "algorithm.learning_rate": 1e-2, "seed": 2}
    assert told["out"] == str(runs[3].place / "weights.pt")


@pytest.mark.parametrize(("text", "workers"), [("", 1), ("deterministic = true\n", None), ("node.workers = 3\n", 3)])
def test_workers_where_no_process_can_be_given_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, workers: int | None
) -> None:
    """A deterministic run refuses any number but one."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (run, _) = planned(tmp_path, HEAD + text)
    played([run], slots=2)
    assert job(run)["settings"].get("node.workers") == workers
    assert job(run)["cores"] == []


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    runs = planned(tmp_path, f"{HEAD}[variants.bad]\nenvironment.kwargs.do = 'fail'\n[variants.good]\n")
    _, ends = played(runs)
    assert [each.failure for each in ends] == ["expected a game, got none", ""] * 2
    assert "a line before" in (runs[0].place / "log.txt").read_text()


@pytest.mark.parametrize(("edited", "came"), [("t_max = 9", "other settings"), ("t_max =", "own.toml is not a TOML")])
def test_a_base_that_is_edited_meanwhile_starts_no_run_with_other_settings(
    tmp_path: Path, edited: str, came: str
) -> None:
    own = '[environment]\nid = "CartPole-v1"\n[algorithm]\nt_max = 8\n'
    base = written(tmp_path, own, name="own.toml")
    runs = planned(tmp_path, HEAD.replace("CartPole-v1", "own.toml").replace("[1, 2]", "[1, 2, 3]"))

    def begins(run: Planned) -> None:
        base.write_text(own.replace("t_max = 8", edited) if run.seed == 2 else own)

    ends: list[Ended] = []
    play(runs, 1, (), threading.Event(), began=begins, ended=ends.append)
    assert [bool(each.failure) for each in ends] == [False, True, False]
    assert ends[1].failure.startswith(f"expected {base} as it was when the study began, got ")
    assert came in ends[1].failure
    assert [(run.place / "jobs.jsonl").exists() for run in runs] == [True, False, True]


def test_a_run_that_is_killed_says_how(tmp_path: Path) -> None:
    _, ends = played(planned(tmp_path, f"{HEAD}environment.kwargs.do = 'die'\n")[:1])
    assert "signal 9" in ends[0].failure


def test_a_stop_reaches_every_run_and_starts_no_more(tmp_path: Path) -> None:
    runs = planned(tmp_path, f"{HEAD}environment.kwargs.do = 'wait'\n[grid]\nalgorithm.learning_rate = [1e-3, 1e-2]\n")
    began, ends = played(runs, 2, stop_after=2)
    assert (len(began), ends) == (2, [])
    assert [(run.place / "stopped").exists() for run in runs] == [True, True, False, False]


def test_what_goes_wrong_here_leaves_no_process(tmp_path: Path) -> None:
    runs = planned(tmp_path, f"{HEAD}environment.kwargs.do = 'wait'\n")

    def fails_second(run: Planned) -> None:
        if run.seed == 2:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        play(runs, 2, (), threading.Event(), began=fails_second, ended=lambda unused: None)
    assert (runs[0].place / "stopped").exists()


@pytest.mark.parametrize(
    ("text", "cores", "slots"),
    [
        ("", 8, 1),  # a run takes all cores
        ("node.workers = 1\n", 8, 8),
        ("node.workers = 3\n", 8, 2),
        ("node.workers = 9\n", 8, 1),
        ("deterministic = true\n", 8, 8),
    ],
)
def test_as_many_as_have_a_core_for_each_worker(tmp_path: Path, text: str, cores: int, slots: int) -> None:
    assert slots_for(planned(tmp_path, HEAD + text), cores) == slots


def test_children_need_cores_too(tmp_path: Path) -> None:
    text = HEAD.replace("[settings]", "children = [0, 2]\n[settings]") + "node.workers = 2\n"
    assert slots_for(planned(tmp_path, text), 8) == 2


@pytest.mark.parametrize(
    ("slots", "cores", "granted", "expected"),
    [
        (2, [0, 1, 2, 3], 4, [[0, 1], [2, 3]]),
        (2, [4, 5, 6], 3, [[4], [5]]),
        (3, [0, 1], 2, [[0], [1], [0]]),
        (2, list(range(64)), 4, [[0, 1], [2, 3]]),  # a container that grants four of 64
        (1, [0, 1], 2, [[0, 1]]),
    ],
)
def test_cores_are_shared_fairly(slots: int, cores: list[int], granted: int, expected: list[list[int]]) -> None:
    assert shares(slots, cores, granted) == expected
