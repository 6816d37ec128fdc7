"""The one of two who makes weights worse is found, whatever the order of trials; honest ones are left in peace."""

from collections.abc import Callable
from typing import cast

import pytest
import torch

from marl.cluster.audit import MOST_TRIALS, PATIENCE_S, ROUNDS, Audit, Auditor
from marl.cluster.evaluator import Verdict
from marl.cluster.snapshot import Snapshot
from marl.config.files import load_config
from marl.data.spaces import Spaces
from marl.exchanges.base import Global
from marl.exchanges.merging_parent import MergingParent
from marl.processes.group import ProcessGroup


class Side:
    """Weights are one number, what they earn; each child moves it in its own way."""

    def __init__(self, earned: float, moves: dict[str, Callable[[float], float]]) -> None:
        self.current = Global(0, torch.tensor([earned]), None, 0)
        self.moves, self.aside, self.accused = moves, set[str](), list[str]()

    def opposed(self) -> tuple[str, ...]:
        return () if self.accused else tuple(self.moves)

    def set_aside(self, child: str) -> None:
        self.aside.add(child)

    def take_back(self, child: str) -> None:
        self.aside.discard(child)

    def go_back(self, to: Global) -> None:
        self.current = to._replace(version=self.current.version + 1)

    def accuse(self, child: str, unused_reason: str) -> None:
        self.accused.append(child)

    def a_round(self) -> None:
        earned = float(self.current.weights[0])
        steps = [move(earned) for child, move in self.moves.items() if child not in {*self.aside, *self.accused}]
        weights = torch.tensor([min(500.0, max(9.0, earned + sum(steps) / max(1, len(steps))))])
        self.current = Global(self.current.version + 1, weights, None, 0)


class Judge:
    """Says what weights earn at the second look."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self.dies = 0

    @property
    def busy(self) -> bool:
        return self._snapshot is not None

    def submit(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def verdict(self) -> Verdict | None:
        snapshot, self._snapshot = self._snapshot, None
        self.dies -= 1
        if snapshot is None or self.dies >= 0:
            return None
        mean = float(snapshot.tensors["weights"][0])
        return Verdict(snapshot, mean, 0.3 * mean)


class Group:
    def check(self, unused_name: str) -> None:
        """Nobody died."""


def better(earned: float) -> float:
    return 0.15 * earned


def worse(earned: float) -> float:
    return -0.15 * earned


def made(side: Side, notes: list[str], dies: int = 0) -> Audit:
    config, spaces = load_config("CartPole-v1", {}), cast(Spaces, None)
    audit = Audit(config, spaces, cast(ProcessGroup, Group()), cast(MergingParent, side), notes.append)
    judge = Judge()
    judge.dies = dies
    audit._auditor = cast(Auditor, judge)
    return audit


def held(side: Side, rounds: int = 200, dies: int = 0) -> list[str]:
    """Notes of the audit."""
    notes: list[str] = []
    audit = made(side, notes, dies)
    for _ in range(rounds):
        side.a_round()
        audit.tend()
    return notes


@pytest.mark.parametrize("order", [("honest", "liar"), ("liar", "honest")])
@pytest.mark.parametrize("earned", [9.0, 20.0, 300.0])
@pytest.mark.parametrize("dies", [0, 2])
def test_who_ruins_the_weights_is_named(order: tuple[str, str], earned: float, dies: int) -> None:
    ways = {"honest": better, "liar": worse}
    side = Side(earned, {name: ways[name] for name in order})
    held(side, dies=dies)
    assert side.accused == ["liar"]
    assert not side.aside
    assert float(side.current.weights[0]) == 500.0


def test_what_a_liar_leaves_is_not_where_the_honest_one_begins() -> None:
    """Weights that earn least already cannot be seen to get worse, but they do: learning takes long to mend them."""
    side = Side(9.0, {"liar": worse, "honest": better})
    went_back: list[Global] = []
    go_back = side.go_back
    side.go_back = lambda to: (went_back.append(to), go_back(to))[1]  # type: ignore[method-assign]
    held(side)
    assert went_back[0].version <= 1  # after the liar's first trial, which changed nothing that could be seen
    assert side.accused == ["liar"]


def test_two_honest_ones_are_left_in_peace() -> None:
    side = Side(20.0, {"a": better, "b": lambda earned: -0.01 * earned})
    notes = held(side, rounds=MOST_TRIALS * (ROUNDS + 4) + 50)
    assert side.accused == []
    assert not side.aside
    assert len(notes) == 1  # and not tried again at once


def test_a_trial_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("marl.cluster.audit.time.monotonic", lambda: now)
    side = Side(20.0, {"a": better, "b": better})
    audit = made(side, [])
    for _ in range(3):
        audit.tend()
    assert side.aside == {"b"}
    now += PATIENCE_S
    audit.tend()
    assert not side.aside
