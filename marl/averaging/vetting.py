"""Limits of an upload of weights: its work must be plausible, its delta not too long."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from marl.averaging.reach import Reach
from marl.averaging.upload_limits import MOST_WEIGHT, Lengths, Room, Weights, WorkCap, check_work

MOST_SPEED = 2e5  # upper bound of a worker's environment steps per second, also while nothing else is known
MOST_WORKERS = 1024  # of one child


class Sent(NamedTuple):
    """An upload's circumstances."""

    child: str
    elapsed_s: float | None  # since the child's last merged upload; None in deterministic mode
    workers: int = 1


class Since(NamedTuple):
    """What a child has done since some upload."""

    work: float = 0.0  # environment steps
    counts: float = 0.0  # in a mean: as much as its work, or less, see ``Weights``
    seconds: float | None = 0.0  # None in deterministic mode

    def later(self, work: float, counts: float, seconds: float | None) -> "Since":
        """And then this."""
        passed = None if seconds is None or self.seconds is None else self.seconds + seconds
        return Since(self.work + work, self.counts + counts, passed)


class Vetting:
    """Owns what has to be remembered of earlier uploads to evaluate the next one."""

    def __init__(self, weights: Tensor, clip: float, reach: Reach | None, *, late: float = 0.0, parts: int = 1) -> None:
        """
        Args:
            weights: that the run starts from.
            reach: how far learning can move the weights; None: not known.
            late: steps of a worker that may be played before one upload and claimed with a later one.
            parts: of the weights, of which an upload has one; see ``part``.
        """
        self._reach, self._late = reach, late
        self._longest_first = max(1.0, float(torch.linalg.vector_norm(weights))) if reach else math.inf
        self.part = 0  # number of the part that uploads have now: changes are compared with those of the same part
        self._work, self._weights = WorkCap(), Weights()
        self._of_parts = [Lengths(ratio=clip) for _ in range(parts)]
        self._since = [dict[str, Since]() for _ in range(parts)]  # since each child's last upload of each part

    def work(self, claimed: float, sent: Sent) -> float:
        """The environment steps that are counted for an upload: those that it claims, at most what is plausible.

        Raises:
            WeightsRefused: what it claims is no count.
        """
        check_work(claimed)
        if sent.elapsed_s is None:
            return claimed
        fastest = MOST_SPEED * min(sent.workers, MOST_WORKERS) * max(0.0, sent.elapsed_s)
        return self._work.plausible(sent.child, min(claimed, fastest), sent.elapsed_s, self._late_of(sent))

    def _late_of(self, sent: Sent) -> float:
        return self._late * min(sent.workers, MOST_WORKERS)

    def since(self, sent: Sent, work: float, counts: float, *, agrees: bool = True) -> Since:
        """What is behind an upload of ``work`` steps: all since the child's last upload of this part of the weights. It
        counts no more than if the child had missed no turn: else one that lies could miss many, to outweigh the others.

        Args:
            agrees: see ``weight``.
        """
        found = self._since[self.part].get(sent.child, Since()).later(work, counts, sent.elapsed_s)
        most = len(self._since) * _most_weight(agrees)
        return found._replace(counts=self._weights.weigh(sent.child, found.counts, most))

    def remember(self, sent: Sent, work: float, counts: float = 0.0) -> None:
        """An upload of ``work`` steps was accepted. Do not remember a refused one: it would change what is usual."""
        self._weights.remember(sent.child, work)
        for part, since in enumerate(self._since):
            before = since.get(sent.child, Since())
            since[sent.child] = Since() if part == self.part else before.later(work, counts, sent.elapsed_s)
        if sent.elapsed_s is not None:
            self._work.remember(sent.child, work, sent.elapsed_s, self._late_of(sent))

    def weight(self, child: str, work: float, *, agrees: bool = True) -> float:
        """What the upload counts in the round's mean.

        Args:
            agrees: the child's deltas are known not to oppose those of the others. If False, the child counts no
                more than the others.
        """
        return self._weights.weigh(child, work, _most_weight(agrees))

    @property
    def _lengths(self) -> Lengths:
        return self._of_parts[self.part]

    def is_nothing(self, child: str, norm: float, counts: float) -> bool:
        """Whether a delta of this norm is too short to be learning. In the mean, it would only slow the others down."""
        return self._lengths.is_nothing(child, norm, counts)

    def shorten(self, sent: Sent, work: float, counts: float, explained: float = 0.0) -> Callable[[float], float]:
        """Returns a function. It takes the norm of a delta, and returns the factor by which the delta is multiplied.

        Args:
            counts: what the upload counts in the mean.
            explained: the part of the length that updates of the others may have caused.
        """
        usual = most = floor = math.inf
        if self._reach is not None:
            workers = min(sent.workers, MOST_WORKERS)
            usual, most = self._reach.lengths(work, workers, sent.elapsed_s)
            floor, _ = self._reach.lengths(counts, workers, sent.elapsed_s)
        room = Room(usual, most, self._longest_first, floor, explained)
        return lambda norm: self._lengths.factor(sent.child, norm, counts, room)

    def complaint(self, child: str) -> str | None:
        """Why a child is to be quarantined, if it is."""
        return self._lengths.complaint(child)

    def saved(self) -> dict[str, Any]:
        """For a checkpoint."""
        saved: dict[str, Any] = {"lengths": self._of_parts[0].saved(), "speeds": self._work.saved()}
        if len(self._of_parts) > 1:
            saved["parts"] = [
                {"lengths": lengths.saved(), "since": {child: [*each] for child, each in since.items()}}
                for lengths, since in zip(self._of_parts, self._since, strict=True)
            ]
        return saved

    def restore(self, saved: object) -> None:
        """Continue from what ``saved`` returned."""
        if not isinstance(saved, dict):
            return
        self._work.restore(saved.get("speeds"))
        parts = saved.get("parts")
        if not (isinstance(parts, list) and len(parts) == len(self._of_parts) > 1):
            self._of_parts[0].restore(saved.get("lengths"))
            return
        for lengths, since, part in zip(self._of_parts, self._since, parts, strict=True):
            if isinstance(part, dict):
                lengths.restore(part.get("lengths"))
                since.update(_since_from(part.get("since")))


def _most_weight(agrees: bool) -> float:
    return MOST_WEIGHT if agrees else 1.0


def _since_from(saved: object) -> dict[str, Since]:
    """What a checkpoint says; what cannot be is left out, for it comes from a file."""
    found: dict[str, Since] = {}
    for child, pair in saved.items() if isinstance(saved, dict) else ():
        match pair:
            case [int() | float() as work, int() | float() as counts, int() | float() | None as seconds]:
                if work >= 0 and counts >= 0 and (seconds is None or seconds >= 0):
                    found[str(child)] = Since(float(work), float(counts), seconds)
    return found
