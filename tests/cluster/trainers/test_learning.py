"""Errors of the parent's own code, in whichever thread, are one line; the log file has the traceback."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.cluster.trainers import learning as module
from marl.cluster.trainers.learning import Learning
from marl.config.files import load_config
from marl.errors import MarlError, NoChildren, WorkerFailed
from tests.commands import BARE, MARL, python, run_folder

DIRTY = """
import threading

from torch import nn


class Lens(nn.Module):
    def __init__(self, spaces, settings):
        super().__init__()
        self.size = 4
        self.linear = nn.Linear(spaces.observation_size, self.size)

    def forward(self, observations):
        if threading.current_thread().name == "actors":
            raise ValueError("the lens is dirty")
        return self.linear(observations)
"""


def tended(failure: BaseException | None, error: BaseException | None, updates: int = 7) -> tuple[MarlError, list[str]]:
    """What ends the run where the parent's half has found ``failure`` and the players raise ``error``; the log."""
    log: list[str] = []

    def tend() -> None:
        if error is not None:
            raise error

    given, side, players = SimpleNamespace(log=log.append), SimpleNamespace(steps=0), SimpleNamespace(tend=tend)
    side.failure = failure
    learner = SimpleNamespace(updates=lambda: updates)
    learning: Any = Learning(given, learner, side, players)  # type: ignore[arg-type]
    with pytest.raises(MarlError) as raised:
        learning.tend()
    return raised.value, log


@pytest.mark.parametrize("error", [ValueError("the lens is dirty"), SystemExit(0), NoChildren("nobody")])
def test_what_the_network_raises_is_one_line(error: BaseException) -> None:
    raised, log = tended(error, None)
    assert isinstance(raised, WorkerFailed)
    assert str(raised) == f"the network cannot decide ({type(error).__name__}: {error}); what was learned is saved"
    assert ["Traceback" in trace for trace in log] == [True]
    assert str(tended(error, error)[0]) == str(raised)  # a thread of the actors ends by it
    assert str(tended(error, None, updates=0)[0]) == f"the network cannot decide ({type(error).__name__}: {error})"


def test_other_errors_of_the_threads_are_one_line_too() -> None:
    raised, log = tended(None, KeyError("child"))
    assert str(raised) == "actors and learner cannot go on (KeyError: 'child'); what was learned is saved"
    assert ["Traceback" in trace for trace in log] == [True]
    told = NoChildren("nobody takes part")
    assert tended(None, told) == (told, [])


class Waited:
    """A learner whose first update is seen at the look number ``after``, and players that have sent ``steps`` steps."""

    def __init__(self, after: int, steps: int, settings: dict[str, Any]) -> None:
        self.looks, self._after, self.stops = 0, after, 0
        group = SimpleNamespace(wait=self._look)
        events = SimpleNamespace(note=lambda text: None)
        given = SimpleNamespace(config=load_config("CartPole-v1", settings), group=group, events=events, log=print)
        learner = SimpleNamespace(
            updates=lambda: int(self.looks >= self._after), check=lambda *unused: None, progress=lambda steps: None
        )
        side = SimpleNamespace(steps=0, failure=None)
        players = SimpleNamespace(tend=lambda: None, stop=self._stop, local=True)
        self.learning: Any = Learning(given, learner, side, players)  # type: ignore[arg-type]
        side.steps = steps

    def _stop(self) -> None:
        assert not self.looks
        self.stops += 1

    def _look(self, seconds: float) -> None:
        self.looks += 1


REPLAYED = {"algorithm.name": "apex_dqn", "exchange.name": "experience", "replay.start": 500, "stop.steps": 1000}


@pytest.mark.parametrize(
    ("after", "steps", "settings", "looks"),
    [
        (3, 160, {"algorithm.name": "impala"}, 3),
        (0, 160, {"algorithm.name": "impala"}, 0),
        (3, 0, {"algorithm.name": "impala"}, 0),  # nothing has arrived
        (3, 1000, REPLAYED, 3),
        (3, 400, REPLAYED, 0),  # no update can come yet
    ],
)
def test_a_run_that_ends_waits_for_the_first_update(
    after: int, steps: int, settings: dict[str, Any], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_S", 1e6)
    waited = Waited(after, steps, settings)
    waited.learning.await_first_update()
    assert waited.looks == looks
    assert waited.stops == (looks > 0)  # actors of this machine play no more meanwhile


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.01)
    Waited(2**60, 160, {"algorithm.name": "impala"}).learning.await_first_update()


def test_a_network_that_fails_on_one_machine(tmp_path: Path) -> None:
    (tmp_path / "dirty.py").write_text(DIRTY)
    words = (
        "CartPole-v1",
        "--algorithm",
        "impala",
        "--exchange",
        "observations",
        "--set",
        "network.encoder=dirty:Lens",
    )
    done = python(*MARL, "train", *words, "--workers", "1", "--steps", "5000", "--plain", *BARE, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Error: the network cannot decide (ValueError: the lens is dirty)\n"
    run = run_folder(tmp_path)
    assert run is not None
    assert "the lens is dirty" in (run / "errors.log").read_text()
