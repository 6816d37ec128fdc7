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


class Vetting:
    """Owns what has to be remembered of earlier uploads to evaluate the next one."""

    def __init__(self, weights: Tensor, clip: float, reach: Reach | None, *, late: float = 0.0) -> None:
        """
        Args:
            weights: that the run starts from.
            reach: how far learning can move the weights; None: not known.
            late: steps of a worker that may be played before one upload and claimed with a later one.
        """
        self._reach, self._late = reach, late
        self._longest_first = max(1.0, float(torch.linalg.vector_norm(weights))) if reach else math.inf
        self._lengths, self._work, self._weights = Lengths(ratio=clip), WorkCap(), Weights()

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

    def remember(self, sent: Sent, work: float) -> None:
        """An upload of ``work`` steps was accepted. Do not remember a refused one: it would change what is usual."""
        self._weights.remember(sent.child, work)
        if sent.elapsed_s is not None:
            self._work.remember(sent.child, work, sent.elapsed_s, self._late_of(sent))

    def weight(self, child: str, work: float, *, agrees: bool = True) -> float:
        """What the upload counts in the round's mean.

        Args:
            agrees: the child's deltas are known not to oppose those of the others. If False, the child counts no
                more than the others.
        """
        return self._weights.weigh(child, work, MOST_WEIGHT if agrees else 1.0)

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
        return {"lengths": self._lengths.saved(), "speeds": self._work.saved()}

    def restore(self, saved: object) -> None:
        """Continue from what ``saved`` returned."""
        if isinstance(saved, dict):
            self._lengths.restore(saved.get("lengths"))
            self._work.restore(saved.get("speeds"))
