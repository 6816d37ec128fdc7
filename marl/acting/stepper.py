"""A worker that only steps its environments: others decide, from what it lays on its desks."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from marl.acting.collect import Episodes
from marl.data.desk import ANSWERED, ASKED, FIRST, GROUP, GROUPS, NUM_LAST, QUESTION, WORKER, DeskLayout
from marl.data.shared import SharedBlock
from marl.environments.vector import Environments, Step


class Stepper:
    """Two groups of environments in turns: while one group's observations travel, the other plays."""

    def __init__(
        self, groups: list[Environments], block: SharedBlock, worker: int, layout: DeskLayout, seeds: list[list[int]]
    ) -> None:
        """``seeds`` of each group's environments."""
        self._groups = groups
        self._desks = [layout.open(memory) for memory in block["desks"][worker].unbind()]
        self._counts: npt.NDArray[np.int64] = block["desk_counts"][worker].numpy()
        self._actions = block["desk_actions"][worker].numpy()
        self._returns = np.zeros((GROUPS, layout.num_environments))
        self._lengths = np.zeros((GROUPS, layout.num_environments), np.int64)
        self._steps = 0
        for group, (environments, own) in enumerate(zip(groups, seeds, strict=True)):
            observations = environments.reset(own)
            none = np.zeros(environments.count, bool)
            start = Step(observations, np.zeros(environments.count), none, none, none, *([], []))  # type: ignore[arg-type]
            self._ask(worker, group, start, first=True)
        self._worker = worker
        self._turn = 0

    def step(self, go_on: Callable[[], bool]) -> Episodes | None:
        """Wait for the next group's actions and take one step in its environments; the episodes that ended in it.

        None once ``go_on`` says no.

        Raises:
            EnvironmentFault: the environment raised, or answered in another shape than it declares.
        """
        group, self._turn = self._turn, (self._turn + 1) % GROUPS
        counts = self._counts[group]
        while counts[ANSWERED] != counts[ASKED]:
            if not go_on():
                return None
            time.sleep(0.0001)  # workers share no lock that one of them could die with, so nothing can wake us
        answer = self._groups[group].step(self._actions[group])
        self._ask(self._worker, group, answer, first=False)
        returns, lengths = self._returns[group], self._lengths[group]
        returns += answer.rewards
        lengths += answer.valid
        self._steps = int(np.count_nonzero(answer.valid))
        ended = answer.terminated | answer.truncated
        episodes = Episodes(returns[ended], lengths[ended])
        returns[ended] = lengths[ended] = 0
        return episodes

    def num_steps(self) -> int:
        """Transitions in the last step."""
        return self._steps

    def step_seconds(self) -> float:
        """Seconds spent so far inside the environments' own ``step``."""
        return sum(each.seconds for each in self._groups)

    def _ask(self, worker: int, group: int, step: Step, *, first: bool) -> None:
        desk, counts, environments = self._desks[group], self._counts[group], self._groups[group]
        flat = np.asarray(step.observations)
        if flat.shape != (environments.count, *environments.spaces.observation_shape):
            environments.refuse_shape(flat)
        desk["observations"].copy_(torch.from_numpy(flat.reshape(environments.count, -1)))
        for name in ("rewards", "terminated", "truncated", "valid"):
            desk[name].copy_(torch.from_numpy(np.asarray(getattr(step, name))))
        num_last = len(step.last_index)
        if num_last:
            last = np.asarray(step.last_observations).reshape(num_last, -1)
            desk["last_observations"][:num_last].copy_(torch.from_numpy(last))
            desk["last_index"][:num_last].copy_(torch.from_numpy(np.asarray(step.last_index)))
        question = int(counts[ASKED]) + 1
        header = desk["header"]
        for place, value in (
            (WORKER, worker),
            (GROUP, group),
            (QUESTION, question),
            (FIRST, first),
            (NUM_LAST, num_last),
        ):
            header[place] = int(value)
        counts[ASKED] = question  # last: whoever sees it finds everything in place
