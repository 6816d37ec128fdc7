"""Which trainer the settings ask for: two questions, four answers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.algorithms.build import build_network
from marl.cluster.find_spaces import find_spaces
from marl.cluster.trainers.actors import Actors
from marl.cluster.trainers.children import Children
from marl.cluster.trainers.learning import Learning
from marl.cluster.trainers.make_trainer import on_children, on_this_machine
from marl.cluster.trainers.merging import Merging
from marl.cluster.trainers.trainer import Given
from marl.cluster.trainers.workers import Workers
from marl.config.files import load_config
from marl.processes.group import ProcessGroup
from marl.reports.run_folder import RunFolder
from marl.training.flat import flatten

LEARNER = {"exchange.name": "experience", "algorithm.name": "impala"}


class Absent:
    """Children that nobody started."""

    def __init__(self) -> None:
        self.workers: list[int] = []

    def open(self, workers: int, unused_note: Callable[[str], None]) -> Any:
        self.workers.append(workers)
        return [SimpleNamespace(address=name, close=lambda: None) for name in ("a", "b")]

    def tend(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def given_by(settings: dict[str, Any], folder: Path, stack: ExitStack) -> Given:
    config = load_config("CartPole-v1", {"seed": 1, "node.workers": 3, **settings})
    spaces = find_spaces(config)
    network = build_network(config.algorithm, spaces, config.network, 1)
    weights, group = flatten(network).weights, stack.enter_context(ProcessGroup())
    events: Any = SimpleNamespace(note=print, on=print)
    return Given(config, spaces, network, weights, RunFolder(folder), group, events, print, None, None)


def test_workers_of_this_machine_learn_themselves(tmp_path: Path, stack: ExitStack) -> None:
    trainer = on_this_machine(given_by({}, tmp_path, stack))
    assert type(trainer) is Workers
    assert trainer.facts() == {"workers": 3}
    assert (trainer.version, trainer.rows(), trainer.audited()) == (None, None, None)


def test_actors_of_this_machine_play_for_a_learner(tmp_path: Path, stack: ExitStack) -> None:
    trainer = on_this_machine(given_by(LEARNER, tmp_path, stack))
    stack.callback(trainer.stop)
    assert isinstance(trainer, Learning)
    assert type(trainer._players) is Actors
    assert trainer.facts() == {"workers": 3, "learner": 1}
    assert "refused" not in trainer.counts().metrics


@pytest.mark.parametrize("settings", [{}, LEARNER], ids=["weights", "experience"])
def test_children_play_and_may_learn(settings: dict[str, Any], tmp_path: Path, stack: ExitStack) -> None:
    fleet = Absent()
    given = given_by(settings, tmp_path, stack)
    trainer = on_children(given, fleet, wait_s=1.0, sample=None)
    stack.callback(trainer.stop)
    assert fleet.workers == [3]  # of local children, as the settings say
    assert trainer.facts() == {"children": {"a": None, "b": None}}
    assert [row.address for row in trainer.rows() or ()] == ["a", "b"]
    assert trainer.never_began()
    if settings:
        assert isinstance(trainer, Learning)
        assert type(trainer._players) is Children
        assert trainer.counts().metrics["refused"] == 0.0
        assert trainer.audited() is None
    else:
        assert type(trainer) is Merging
        assert trainer.audited() is trainer._side
        assert trainer.snapshot().tensors["weights"].equal(given.weights)
