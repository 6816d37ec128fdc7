"""A fleet from outside the package: it starts the children of a run, looks after them, and ends them with the run."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from examples.own_link import Waits
from marl.api import Cluster, train
from marl.cluster.fleets.fleet import Fleet
from marl.errors import LinkClosed, MarlError
from marl.wire.endpoint import Endpoint
from tests.commands import PATIENCE_S, started
from tests.extending.test_own_endpoint import CATCH, CHILD, SETTINGS


class Commands:
    """Each child is a command of its own, which dials this process."""

    def __init__(self, count: int, folder: Path) -> None:
        self._count, self._folder, self._stack = count, folder, ExitStack()
        self.processes: list[Any] = []
        self.looks = 0

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        endpoints = [Waits() for unused in range(self._count)]
        for endpoint in endpoints:
            command = started("-c", CHILD.format(port=endpoint.port), cwd=self._folder)
            self.processes.append(self._stack.enter_context(command))
        note(f"{self._count} children of mine are started")
        return endpoints

    def tend(self) -> Sequence[str]:
        self.looks += 1
        return ["a child of mine has died"] if self.looks == 1 else []

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        self._stack.close()


def test_a_run_trains_on_children_that_a_fleet_has_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fleet: Fleet = (mine := Commands(2, tmp_path))
    cluster = Cluster(fleets=(fleet,), wait_s=PATIENCE_S)
    result = train(CATCH, settings=SETTINGS, look=False, cluster=cluster, out=tmp_path / "weights.pt", live=False)
    assert (result.reason, result.failure) == ("steps", None)
    happened = [json.loads(line) for line in (result.run / "events.jsonl").read_text().splitlines()]
    assert len({each["node"] for each in happened if each["event"] == "child_joined"}) == 2
    told = [each["text"] for each in happened if each["event"] == "warning"]
    assert told[:2] == ["2 children of mine are started", "a child of mine has died"]
    assert [process.poll() is None for process in mine.processes] == [False, False]


class Refuses:
    """Can bring nobody."""

    closed = False

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        raise LinkClosed("the cluster manager is not there")

    def tend(self) -> Sequence[str]:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


def test_a_fleet_that_cannot_be_opened_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fleet = Refuses()
    with pytest.raises(MarlError, match="the cluster manager is not there"):
        train(CATCH, settings=SETTINGS, look=False, cluster=Cluster(fleets=(fleet,)), live=False)
    assert fleet.closed
