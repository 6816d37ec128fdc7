"""Runs that choose their exchange themselves: on children that are measured first, and on one machine."""

from pathlib import Path
from typing import Any

import pytest

from marl.cluster.fleets.fleet import Fleet
from marl.cluster.planning.settle import Opened, left_open, settled
from marl.cluster.runs.run import run
from marl.config.files import load_config
from marl.errors import EnvironmentFault
from marl.reports.events import Event, Status, Warned
from tests.matrix.here import PATIENCE_S, Children, threads_for_processes

SETTINGS: dict[str, Any] = {
    "seed": 1,
    "algorithm.name": "ppo",
    "exchange.name": "auto",
    "environment.per_worker": 8,
    "node.workers": 1,
    "evaluation.final_episodes": 0,
    "report.pictures": False,
    "report.sinks": [],
    "report.every_seconds": 0.05,
    "stop.steps": 4000,
    "stop.solved": False,
}


def trained(
    folder: Path, fleet: Fleet | None, source: str = "CartPole-v1", **changes: Any
) -> tuple[dict[str, Any], list[Event]]:
    told: list[Event] = []
    with threads_for_processes():
        result = run(
            source,
            {key: each for key, each in {**SETTINGS, **changes}.items() if each is not None}
            | {"report.runs": str(folder / "runs")},
            fleet=fleet,
            wait_s=PATIENCE_S,
            resume=None,
            init=None,
            out=folder / "weights.pt",
            live=False,
            plain=False,
            callback=told.append,
        )
    return result, told


def test_a_run_on_children_says_what_it_chose(tmp_path: Path) -> None:
    result, told = trained(tmp_path, Children(2, tmp_path / "home"))
    assert result["steps"] >= 4000
    lines = [each.text for each in told if isinstance(each, Warned) and each.text.startswith("exchange ")]
    assert len(lines) == 1
    kept = (next((tmp_path / "runs").glob("*/config.toml"))).read_text()
    assert f'name = "{lines[0].split()[1].rstrip(",")}"' in kept  # a resume goes on with it
    assert 'name = "auto"' not in kept
    assert any(each.speedup for each in told if isinstance(each, Status))


def test_one_machine_alone_learns_as_its_algorithm_does(tmp_path: Path) -> None:
    result, told = trained(tmp_path, None)
    assert result["steps"] >= 4000
    assert not any(each.speedup for each in told if isinstance(each, Status))


class Brings:
    """See ``Fleet``."""

    def __init__(self) -> None:
        self.closed = 0

    def open(self, workers: int, note: Any) -> list[Any]:
        note("a child is slow to start")
        return []

    def tend(self) -> list[str]:
        return ["it has ended"]

    def close(self) -> None:
        self.closed += 1


def test_a_fleet_is_closed_where_the_environment_fails() -> None:
    fleet = Brings()
    config = load_config("tests.environments.test_closing:OddSpace", {**SETTINGS})
    with pytest.raises(EnvironmentFault):
        settled(config, fleet, 0.0, print)
    assert fleet.closed == 1


def test_a_fleet_that_is_open_already() -> None:
    """What it says before there is a run is not lost."""
    fleet, lines = Brings(), list[str]()
    opened = Opened(fleet, 0)
    assert opened.open(0, lines.append) == []
    assert lines == ["a child is slow to start"]
    assert opened.tend() == ["it has ended"]
    opened.close()
    assert fleet.closed == 1


@pytest.mark.parametrize(
    ("settings", "open_"),
    [({}, True), ({"algorithm.name": "impala"}, False), ({"deterministic": True, "seed": 1}, False)],
)
def test_what_is_left_open(settings: dict[str, Any], open_: bool) -> None:
    config = load_config("Acrobot-v1", settings)
    assert left_open(config).exchange.is_open is open_


def test_a_run_on_children_that_says_nothing_of_the_exchange_chooses_it(tmp_path: Path) -> None:
    silent = {"exchange.name": None, "environment.solved_return": -100.0}
    _, told = trained(tmp_path, Children(1, tmp_path / "home"), "Acrobot-v1", **silent)
    assert any(isinstance(each, Warned) and each.text.startswith("exchange ") for each in told)
