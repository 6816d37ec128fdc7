"""Errors of the parent's own code, in whichever thread, are one line; the log file has the traceback."""

import threading
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


@pytest.mark.parametrize(("updates", "ending"), [(7, "; what was learned is saved"), (0, "")])
def test_an_actor_that_is_given_up_is_told_with_what_is_left(updates: int, ending: str) -> None:
    raised, log = tended(None, WorkerFailed("no mask (worker 0)"), updates)
    assert isinstance(raised, WorkerFailed)
    assert (str(raised), log) == (f"no mask (worker 0){ending}", [])


class Waited:
    """A learner to which ``arrived`` trajectories came, and whose first update is seen at the look number ``after``."""

    def __init__(self, after: int, arrived: int, settings: dict[str, Any], *, stopped_at: int = 2**60) -> None:
        self.looks, self.tended, self.stops = 0, 0, 0
        self.stopped, self._stopped_at = threading.Event(), stopped_at
        group = SimpleNamespace(wait=self._look)
        events = SimpleNamespace(note=lambda text: None)
        given = SimpleNamespace(config=load_config("CartPole-v1", settings), group=group, events=events, log=print)
        learner = SimpleNamespace(
            updates=lambda: int(self.looks >= after),
            arrived=lambda: arrived,
            check=self._tend,
            progress=lambda steps: None,
        )
        side = SimpleNamespace(steps=10**6, failure=None)  # single steps, of which no trajectory was made yet, too
        players = SimpleNamespace(tend=lambda: None, stop=self._stop, local=True)
        self.learning: Any = Learning(given, learner, side, players)  # type: ignore[arg-type]

    def _stop(self) -> None:
        assert not self.looks
        self.stops += 1

    def _look(self, seconds: float) -> None:
        self.looks += 1
        if self.looks == self._stopped_at:
            self.stopped.set()

    def _tend(self, *unused: Any) -> None:
        self.tended += 1


IMPALA = {"algorithm.name": "impala"}
BATCHES = {**IMPALA, "exchange.name": "experience", "exchange.batch": 4}
REPLAYED = {
    "algorithm.name": "apex_dqn", "exchange.name": "experience", "environment.per_worker": 4, "algorithm.t_max": 10,
    "replay.start": 500, "replay.batch_size": 128,
}  # fmt: skip
OBSERVED = {**REPLAYED, "exchange.name": "observations"}  # trajectories of a group each, half of the environments
SELDOM = {**IMPALA, "replay.ratio": 0.5}  # learns from every second trajectory


@pytest.mark.parametrize(
    ("after", "arrived", "settings", "looks"),
    [
        (3, 1, IMPALA, 3),
        (0, 1, IMPALA, 0),
        (3, 0, IMPALA, 0),  # nothing has arrived
        (3, 4, BATCHES, 3),
        (3, 3, BATCHES, 0),  # no update can come yet
        (3, 13, REPLAYED, 3),
        (3, 12, REPLAYED, 0),
        (3, 25, OBSERVED, 3),
        (3, 24, OBSERVED, 0),
        (3, 7, {**REPLAYED, "replay.start": 0, "replay.batch_size": 300}, 0),
        (3, 8, {**REPLAYED, "replay.start": 0, "replay.batch_size": 300}, 3),
        (3, 2, SELDOM, 3),
        (3, 1, SELDOM, 0),
    ],
)
def test_a_run_that_ends_waits_for_the_first_update(
    after: int, arrived: int, settings: dict[str, Any], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_S", 1e6)
    waited = Waited(after, arrived, settings)
    waited.learning.await_first_update(waited.stopped)
    assert waited.looks == waited.tended == looks
    assert waited.stops == (looks > 0)  # actors of this machine play no more meanwhile


def test_a_signal_ends_the_wait_and_no_learner_that_it_ended_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_S", 1e6)
    waited = Waited(2**60, 1, IMPALA, stopped_at=3)
    waited.learning.await_first_update(waited.stopped)
    assert (waited.looks, waited.tended) == (3, 2)


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.01)
    waited = Waited(2**60, 1, IMPALA)
    waited.learning.await_first_update(waited.stopped)


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
