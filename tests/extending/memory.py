"""Cores and encoders that remember, and an environment that only memory solves."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from marl.acting.collect import Collector
from marl.algorithms.a3c import A3C
from marl.data.layout import Values, leaves
from marl.data.spaces import Spaces
from marl.environments.vector import Environments
from marl.networks.actor_critic import RecurrentActorCritic
from marl.networks.build_network import actor_critic
from marl.networks.contract import Decision, State
from marl.networks.sampling import Sampler
from marl.networks.settings import NetworkSettings
from tests.fakes import Probe, counting_vector

MEMORY, TOTAL, SEEN = (f"{__name__}:{name}" for name in ("Memory", "Total", "Seen"))
RECALL, VALUED = f"{__name__}:Recall", f"{__name__}:Valued"
COUNT = 3


class Memory(nn.Module):
    """As in docs/extending.md."""

    def __init__(self, features: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.size = settings.hidden[-1]
        self.cell = nn.GRUCell(features, self.size)

    def initial_state(self, rows: int) -> State:
        return torch.zeros(rows, self.size)

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        state = self.cell(features, state)
        return state, state


class Valued(nn.Module):
    """Values of actions from what is seen and what was; marl makes the older copy."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(sum(part.size for part in leaves(spaces.observations)), 16)
        self.values = nn.Linear(16, spaces.num_actions)

    def initial_state(self, rows: int) -> State:
        return torch.zeros(rows, 16)

    def step(self, observations: Values, state: State) -> Decision:
        state = self.cell(torch.cat(leaves(observations), -1), state)
        return Decision(self.values(state), None, state)


class Frozen(Valued):
    """Its values cannot be learned."""

    def step(self, observations: Values, state: State) -> Decision:
        with torch.no_grad():
            return super().step(observations, state)


class Seen(nn.Module):
    """An encoder that shows the core what there is to see."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings) -> None:
        super().__init__()
        self.size = spaces.observation_size

    def forward(self, observations: Tensor) -> Tensor:
        return observations


class Total(nn.Module):
    """The sum of all that an episode has shown, and how many steps that were; begins at 5 and 0."""

    def __init__(self, features: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.size = features + 1

    def initial_state(self, rows: int) -> State:
        return {"total": torch.full((rows, self.size - 1), 5.0), "more": (torch.zeros(rows, dtype=torch.int64),)}

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        total, (steps,) = state["total"] + features, state["more"]
        return torch.cat([total, steps.unsqueeze(-1).float()], -1), {"total": total, "more": (steps + 1,)}


class WrongSize(Memory):
    def __init__(self, features: int, settings: NetworkSettings) -> None:
        super().__init__(features, settings)
        self.size += 1


class NoSize(Memory):
    def __init__(self, features: int, settings: NetworkSettings) -> None:
        super().__init__(features, settings)
        del self.size


class OneState(Memory):
    """The same for all environments."""

    def initial_state(self, rows: int) -> State:
        return torch.zeros(self.size)


class WrongEncoder(Seen):
    def forward(self, observations: Tensor) -> Tensor:
        return observations.repeat_interleave(2, -1)


class Whole(RecurrentActorCritic):
    """A network of one's own that remembers."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__(spaces, replace(settings, name="", core=MEMORY), seed)


@dataclass(frozen=True)
class Forgets(A3C):
    """Its loss shows each observation alone."""

    takes_state: ClassVar[bool] = False


class Recall(Probe):
    """Sees 1 or -1, then 0 twice; the last action is right if it says what was seen first."""

    def _first(self) -> float:
        self._cue, self._left = float(self.np_random.choice([-1.0, 1.0])), 2
        return self._cue

    def _answer(self, action: Any) -> tuple[float, bool]:
        self._left -= 1
        self._shown = np.float32(0.0)
        right = 1.0 if (action == 1) == (self._cue > 0) else -1.0
        return (0.0, False) if self._left >= 0 else (right, True)


def counting(mode: str, ends: str, **kwargs: Any) -> Environments:
    return Environments(counting_vector(COUNT, mode, ends=ends, **kwargs), "counting")


def exact(spaces: Spaces, *, shared: bool) -> nn.Module:
    """A network whose numbers are small multiples of 1/8: float32 holds each sum exactly, in whatever order."""
    settings = NetworkSettings(encoder=SEEN, core=TOTAL, shared_trunk=shared)
    network = actor_critic(spaces, settings, 1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randint(-8, 9, parameter.shape, generator=generator) / 8)
    return network


def collector_of(environments: Environments, length: int, sampler: Sampler | None = None) -> Collector:
    return Collector(
        environments,
        length=length,
        discount=0.9,
        reward_scale=1.0,
        generator=torch.Generator().manual_seed(7),
        seeds=list(range(environments.count)),
        sampler=sampler,
    )
