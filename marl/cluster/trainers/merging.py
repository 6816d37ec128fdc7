"""Children play and learn; the weights that they upload are merged here, version after version."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from marl.cluster.snapshot import Snapshot
from marl.cluster.statistics import tensors_of
from marl.cluster.trainers.children import Children
from marl.cluster.trainers.trainer import Counts, Episodes, Given, Pause, Trainer
from marl.exchanges.sides import Audited, Global, RunSide
from marl.exchanges.virtual_time import RoundTimer
from marl.reports.events import ChildRow

MOST_ASKED = 8  # how often the last steps are asked for: a child may report what it likes
LAST_ROUND_S = 1.5  # seconds for the last uploads of the children, when the run ends


class _Asked(NamedTuple):
    """When children were asked for all that they have played."""

    version: int  # of the weights then
    steps: int  # that were reported by then


class Merging(Trainer):
    """See ``Trainer``."""

    def __init__(self, given: Given, side: RunSide, children: Children, timer: RoundTimer | None = None) -> None:
        """
        Args:
            side: the parent's side of the exchange, which the ``children`` speak to.
            timer: counts its rounds in virtual time; None: nobody asks for that.
        """
        self._timer = timer
        self._given, self._side, self._children = given, side, children
        self._base_updates, self._base_steps = (int(given.info.get(each, 0)) for each in ("updates", "steps"))
        self._asked: _Asked | None = None
        self._times_asked = 0
        self._lost = 0  # steps that were played and are not merged in time
        self._paused_at = 0  # version
        self._takes_episodes = not given.config.deterministic

    def start(self, save: Callable[[], None], began: float) -> None:
        """See ``Trainer``."""
        self._children.start(save, began)

    def stop(self) -> None:
        """See ``Trainer``."""
        self._children.stop()
        self._takes_episodes = True

    def tend(self) -> bool:
        """See ``Trainer``."""
        self._children.tend()
        self._catch_up()
        return False

    def _catch_up(self) -> None:
        """Once children have played all steps of the run, these are merged at once, so that it does not end later than
        it could. Steps that such a merge did not bring may be lost, and count for nothing.
        """
        config, current = self._given.config, self._side.current
        last = config.stop.steps
        if config.deterministic or last is None or current.steps >= last:
            return
        if self._asked is not None and current.version > self._asked.version:
            self._lost, self._asked = max(0, self._asked.steps - current.steps), None
        played = self._base_steps + int(self._children.counts().steps.sum())
        if played - self._lost >= last and (self._asked or self._times_asked < MOST_ASKED):
            if self._asked is None:
                self._asked, self._times_asked = _Asked(current.version, played), self._times_asked + 1
            self._side.catch_up(played)

    @property
    def version(self) -> int | None:
        """See ``Trainer``."""
        return self._side.current.version

    def pause(self) -> Pause | None:
        """See ``Trainer``: the children wait for the new version."""
        current = self._side.current
        self._takes_episodes = current.rests and current.version != self._paused_at
        if not self._takes_episodes:
            return None
        self._paused_at = current.version
        return Pause(current.version, self._proceed)

    def _proceed(self, go_on: bool) -> None:
        if go_on:
            self._side.release()

    @property
    def resumable(self) -> bool:
        """See ``Trainer``: a deterministic run is saved where all children wait, nowhere else."""
        return not self._given.config.deterministic

    def last_round(self) -> None:
        """See ``Trainer``."""
        self._side.last_round(LAST_ROUND_S)

    def steps(self) -> int:
        """See ``Trainer``."""
        return self._side.current.steps

    def counts(self) -> Counts:
        """See ``Trainer``."""
        return self._counts(self._side.current)

    def _counts(self, current: Global) -> Counts:
        """A parent's own optimizer steps count once each: all workers of all children report the same ones."""
        counts = self._children.counts()
        return counts if current.updates is None else counts._replace(updates=np.array([current.updates]))

    def episodes(self) -> Episodes:
        """See ``Trainer``. In a deterministic run they count at the end of a round, when all children have reported."""
        if not self._takes_episodes:
            return np.zeros(0), np.zeros(0, np.int64)
        return self._children.episodes()

    def snapshot(self) -> Snapshot:
        """See ``Trainer``."""
        self._state = state = self._side.saved()  # for ``info``, which must belong to these tensors
        tensors: dict[str, torch.Tensor] = {"weights": state.current.weights}
        tensors |= tensors_of(self._given.config, state.current.statistics)
        tensors |= state.optimizer
        tensors |= {
            name: each for name, each in (("velocity", state.velocity), ("error", state.error)) if each is not None
        }
        updates = self._base_updates + int(self._counts(state.current).updates.sum())
        return Snapshot(tensors, state.current.steps, updates)

    def info(self) -> dict[str, Any]:
        """See ``Trainer``."""
        state = self._state
        return {
            "epoch": self._side.term,
            "version": state.current.version,
            "merged": state.merged,
            "limits": state.limits,
            **self._children.info(),
            **({} if self._timer is None else {"virtual_seconds": self._timer.seconds}),
        }

    def facts(self) -> dict[str, Any]:
        """See ``Trainer``."""
        return self._children.facts()

    def leads(self) -> bool:
        """See ``Trainer``."""
        return self._children.leads()

    def never_began(self) -> bool:
        """See ``Trainer``."""
        return self._children.never_began()

    def audited(self) -> Audited | None:
        """See ``Trainer``."""
        return self._side.audited()

    def virtual_seconds(self) -> float | None:
        """See ``Trainer``: when the last round ended."""
        return None if self._timer is None else self._timer.seconds

    def rows(self) -> list[ChildRow] | None:
        """See ``Trainer``."""
        return self._children.rows()
