"""A worker that only steps its environments: the parent decides, from what it finds in the request slots."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.acting.collect import Episodes
from marl.data.layout import Leaf, at, flattened, mapped, put
from marl.data.node.bell import Bell
from marl.data.requests import ANSWERED, ASKED, BEGUN, BELL, GROUPS, RequestLayout
from marl.data.shared import SharedBlock
from marl.environments.numbers import fault_of
from marl.environments.vector import Environments, Step


class Stepper:
    """Two groups of environments in turns: while one group's observations travel, the other plays."""

    def __init__(
        self, groups: list[Environments], block: SharedBlock, worker: int, layout: RequestLayout, seeds: list[list[int]]
    ) -> None:
        """``seeds`` of each group's environments.

        Raises:
            EnvironmentFault: the environment raised, or answered with another shape than it declares.
        """
        self._groups, self._worker = groups, worker
        slots = block["requests"][worker].numpy()  # [G, num_bytes]
        self._slots = [layout.open(slot) for slot in slots]
        self._counts: npt.NDArray[np.int64] = block["request_counts"][worker].numpy()
        self._answered = Bell(self._counts[0, BELL:])
        self._actions = block["request_actions"][worker].numpy()
        self._returns = np.zeros((GROUPS, layout.num_environments))
        self._lengths = np.zeros((GROUPS, layout.num_environments), np.int64)
        self._turn = 0
        for group, (environments, own) in enumerate(zip(groups, seeds, strict=True)):
            none = np.zeros(environments.count, bool)
            start = Step(environments.reset(own), none, none, none, none, (), none[:0])
            self._ask(group, start, first=True)

    def step(self, go_on: Callable[[], bool]) -> Episodes | None:
        """Wait for the next group's actions and take one step in its environments; the episodes that ended in it.

        None once ``go_on`` says no.

        Raises:
            EnvironmentFault: the environment raised, or answered in another shape than it declares or with a number
            that is not finite.
        """
        group, self._turn = self._turn, (self._turn + 1) % GROUPS
        if not self._wait(self._counts[group], go_on):
            return None
        environments = self._groups[group]
        before = environments.seconds, environments.outside.count
        answer = environments.step(self._actions[group])
        self._ask(group, answer, first=False)
        returns, lengths = self._returns[group], self._lengths[group]
        returns += answer.rewards
        lengths += answer.valid
        ended = answer.terminated | answer.truncated
        outside = environments.outside
        episodes = Episodes(
            returns[ended],
            lengths[ended],
            int(np.count_nonzero(answer.valid)),
            environments.seconds - before[0],
            outside.count - before[1],
            outside.first,
        )
        returns[ended] = lengths[ended] = 0
        return episodes

    def _wait(self, counts: npt.NDArray[np.int64], go_on: Callable[[], bool]) -> bool:
        self._answered.wait_for(lambda: bool(counts[ANSWERED] == counts[ASKED]) or not go_on())
        return go_on()

    def _ask(self, group: int, step: Step, *, first: bool) -> None:
        environments, counts = self._groups[group], self._counts[group]
        environments.demand_shape(step.observations)
        observation = environments.spaces.raw
        seen = mapped(_as_array, observation, step.observations)
        question, num_last = int(counts[ASKED]) + 1, len(step.last_index)
        environments.demand_numbers("observation", seen)
        if fault := fault_of("reward", step.rewards):
            environments.refuse_number(fault)
        if num_last:
            last = mapped(_as_array, observation, step.last_observations)
            environments.demand_numbers("last observation", last)
        counts[BEGUN] = question  # first: who reads meanwhile knows that the slot is not whole
        slot = self._slots[group]
        put(slot["observations"], flattened(observation, seen))
        environments.outside.look(slot["observations"])
        slot["rewards"][:] = step.rewards
        slot["ends"][:] = step.terminated, step.truncated, step.valid
        if num_last:
            put(at(slot["last_observations"], slice(num_last)), flattened(observation, last))
            environments.outside.look(at(slot["last_observations"], slice(num_last)))
            slot["last_index"][:num_last] = step.last_index
        slot["header"][:5] = self._worker, group, question, first, num_last
        counts[ASKED] = question  # last: who sees it finds everything in place


def _as_array(unused_leaf: Leaf, value: Any) -> npt.NDArray[Any]:
    return np.asarray(value)
