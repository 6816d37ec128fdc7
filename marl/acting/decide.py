"""Actions for many environments at once, by the newest weights: what a parent does whose children only step."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from marl.data.layout import Values, at, joined, num_rows
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

    observations: Values  # [N, D]
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

    def __init__(self, network: Acts, generator: torch.Generator) -> None:
        self._network, self._generator = network, generator

    def decide(self, questions: list[Question], version: int) -> list[Answers]:
        """Answer all; ``version`` of the weights that the network has."""
        with torch.inference_mode():
            together = joined([each.observations for each in questions])
            before = joined([each.state for each in questions])
            parameters, _, state = self._network.step(together, before)
            drawn, end = [], 0
            for _, run in groupby((noises for each in questions for noises in each.noises), key=_alike):
                group = list(run)
                start, end = end, end + sum(noises.count for noises in group)
                noise = joined([noises.noise(self._generator) for noises in group])
                drawn.append(group[0].sampler.act(parameters[start:end], noise))
            actions, behaviour = joined([each for each, _ in drawn]), joined([each for _, each in drawn])
        answers, end = [], 0
        for question in questions:
            start, end = end, end + num_rows(question.observations)
            own = slice(start, end)
            answers.append(Answers(actions[own], behaviour[own], at(state, own), version))
        return answers


def _alike(noises: ActionNoise) -> int:
    """The same for those who can act at once; a sampler of another kind acts for one group at a time."""
    return id(noises.sampler if type(noises.sampler) is OnPolicy else noises)
