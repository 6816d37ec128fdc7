"""An audit of weights that are one number, by which they also earn."""

from collections.abc import Callable
from typing import cast

import torch

from marl.cluster.runs.evaluator import Score
from marl.cluster.runs.trials import (
    Audit,
    Auditor,
)
from marl.cluster.snapshot import Snapshot
from marl.config.files import load_config
from marl.data.spaces import Spaces
from marl.exchanges.sides import Audited, Global, Standing
from marl.processes.group import Failure, ProcessGroup


class Side:
    """Weights are one number, what they earn; each child moves it in its own way."""

    def __init__(self, earned: float, moves: dict[str, Callable[[float], float]]) -> None:
        self.current = Global(0, torch.tensor([earned]), None, 0)
        self.moves, self.aside, self.accused = moves, set[str](), list[str]()
        self.standings: dict[str, Standing] = {}

    def opposed(self) -> tuple[str, ...]:
        return () if self.accused else tuple(self.moves)

    def standing(self, child: str) -> Standing:
        return self.standings.get(child, Standing.TAKES_PART)

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


class Plays:
    """Says what weights earn at the second look."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self.dies = 0
        self.hangs = False
        self.asked = 0

    @property
    def busy(self) -> bool:
        return self._snapshot is not None

    def submit(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.asked += 1

    def score(self) -> Score | None:
        if self.hangs:
            return None
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is None:
            return None
        self.dies -= 1
        if self.dies >= 0:
            return None
        mean = float(snapshot.tensors["weights"][0])
        return Score(snapshot, mean, 0.3 * mean)


class Group:
    def check(self, unused_name: str) -> list[tuple[str, Failure]]:
        """Nobody died."""
        return []


def better(earned: float) -> float:
    return 0.15 * earned


def worse(earned: float) -> float:
    return -0.15 * earned


def made(side: Side, notes: list[str], dies: int = 0) -> Audit:
    audit, plays = made_with(side, notes)
    plays.dies = dies
    return audit


def made_with(side: Side, notes: list[str] | None = None) -> tuple[Audit, Plays]:
    config, spaces, said = load_config("CartPole-v1", {}), cast(Spaces, None), notes if notes is not None else []
    group, audited = cast(ProcessGroup, Group()), cast(Audited, side)
    audit = Audit(config, spaces, group, audited, note=said.append, log=said.append)
    plays = Plays()
    audit._auditor = cast(Auditor, plays)
    return audit, plays


def held(side: Side, rounds: int = 200, dies: int = 0) -> list[str]:
    """Notes of the audit."""
    notes: list[str] = []
    audit = made(side, notes, dies)
    for _ in range(rounds):
        side.a_round()
        audit.tend()
    return notes
