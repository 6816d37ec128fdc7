"""Actions for many environments at once, by the newest weights: what a parent does whose children only step."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from marl.data.layout import mapped
from marl.networks.contract import Acts, State
from marl.networks.sampling import OnPolicy, Sampler


class ActionNoise:
    """How one group of environments acts: a worker's sampler, and its noise, drawn for a whole trajectory at once."""

    def __init__(self, sampler: Sampler, length: int, environments: int) -> None:
        self.sampler = sampler
        self.count = environments
        self._shape = length, environments
        self._noise: Iterator[Tensor] = iter(())

    def noise(self, generator: torch.Generator) -> Tensor:
        """For the next step [B, ...]."""
        noise = next(self._noise, None)
        if noise is None:
            self._noise = iter(self.sampler.noise(self._shape, generator).unbind())
            noise = next(self._noise)
        return noise


class Question(NamedTuple):
    """Environments that wait for actions."""

    observations: Tensor  # [N, D]
    state: State  # [N, ...]  what the network remembers
    noises: Sequence[ActionNoise]  # of the groups, in order


class Answers(NamedTuple):
    """What they do."""

    actions: Tensor  # [N] or [N, A]
    behaviour: Tensor  # [N, P]
    state: State  # [N, ...]  for the next step
    version: int  # of the weights


class Decider:
    """One forward pass for all who ask. For one thread at a time."""

    def __init__(self, network: Acts, refresh: Callable[[], int], generator: torch.Generator) -> None:
        """``refresh`` puts the newest weights into the network; it returns their version."""
        self._network, self._refresh, self._generator = network, refresh, generator

    def decide(self, questions: list[Question]) -> list[Answers]:
        """Answer all."""
        version = self._refresh()
        with torch.inference_mode():
            together = _joined([each.observations for each in questions])
            before = mapped(lambda *each: _joined(list(each)), *[question.state for question in questions])
            parameters, _, state = self._network.step(together, before)
            drawn, end = [], 0
            for _, run in groupby((noises for each in questions for noises in each.noises), key=_alike):
                group = list(run)
                start, end = end, end + sum(noises.count for noises in group)
                noise = _joined([noises.noise(self._generator) for noises in group])
                drawn.append(group[0].sampler.act(parameters[start:end], noise))
            actions, behaviour = _joined([each for each, _ in drawn]), _joined([each for _, each in drawn])
        answers, end = [], 0
        for question in questions:
            start, end = end, end + len(question.observations)
            own = mapped(lambda rows, start=start, end=end: rows[start:end], state)
            answers.append(Answers(actions[start:end], behaviour[start:end], own, version))
        return answers


def _alike(noises: ActionNoise) -> int:
    """The same for those who can act at once; a sampler of another kind acts for one group at a time."""
    return id(noises.sampler if type(noises.sampler) is OnPolicy else noises)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
