"""Actions for many environments at once, by the newest weights: what a parent does whose children only step."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from marl.acting.collect import Acts
from marl.networks.sampling import Sampler


class Question(NamedTuple):
    """One group of environments that waits for actions."""

    observations: Tensor  # [B, D]
    states: Tensor  # [B, S]  what the network kept in mind after the last step
    sampler: Sampler


class Decision(NamedTuple):
    """What the group does."""

    actions: Tensor  # [B] or [B, A]
    behaviour: Tensor  # [B, P]
    states: Tensor  # [B, S]
    version: int  # of the weights


class Remembers(Protocol):
    """A network whose decision depends on more than the present observation."""

    state_size: int

    def step(self, observations: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Distribution parameters [N, P], and what to keep in mind [N, S]."""


class Decider:
    """One forward pass for all who ask."""

    def __init__(self, network: nn.Module, refresh: Callable[[], int], generator: torch.Generator) -> None:
        """``refresh`` puts the newest weights into the network; it returns their version."""
        self._network, self._refresh, self._generator = network, refresh, generator
        self._remembers = cast(Remembers, network) if state_size(network) else None

    def decide(self, questions: list[Question]) -> list[Decision]:
        """Answer all."""
        version = self._refresh()
        together = torch.cat([each.observations for each in questions])
        with torch.inference_mode():
            if self._remembers is None:
                parameters, states = cast(Acts, self._network).policy(together), torch.zeros(len(together), 0)
            else:
                parameters, states = self._remembers.step(together, torch.cat([each.states for each in questions]))
            decisions, start = [], 0
            for each in questions:
                end = start + len(each.observations)
                noise = each.sampler.noise((end - start,), self._generator)
                actions, behaviour = each.sampler.act(parameters[start:end], noise)
                decisions.append(Decision(actions, behaviour, states[start:end], version))
                start = end
        return decisions


def state_size(network: nn.Module) -> int:
    """How many numbers a network keeps in mind for each environment; 0: none."""
    return int(getattr(network, "state_size", 0))
