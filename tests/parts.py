"""Parts of a user's own that cannot work, each for one reason; beside them a few that can."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from examples.own_sampler import Boltzmann as Boltzmann
from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm, Loss
from marl.data.spaces import Spaces
from marl.networks.actor_critic import ActorCritic
from marl.networks.contract import Decision, Outputs, State, Stateless
from marl.networks.distributions import ActionRule, distribution_for
from marl.networks.sampling import Rank
from marl.networks.settings import NetworkSettings
from tests.fake_algorithms import Lazy as Lazy


class NoModule:
    """Neither a network nor a sampler nor an algorithm."""


def make_nothing(*unused: Any) -> None:
    """No class."""


class Values(Stateless):
    """For apex_dqn: values of actions."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        self.layer = nn.Linear(spaces.observation_size, spaces.num_actions)

    def policy(self, observations: Tensor) -> Tensor:
        return self.layer(observations)


class Buffered(Values):
    """Has a number that no gradient moves, so that the copy is longer than what it copies."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__(spaces, settings, seed)
        self.register_buffer("scale", torch.ones(1))


class Bare(nn.Module):
    """No policy."""

    def __init__(self, *unused: Any) -> None:
        super().__init__()


class NoDistribution(ActorCritic):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        del self.distribution


class Forgetful(ActorCritic):
    """Has a layer that does another thing in training than in play."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sometimes = nn.Dropout(0.5)


class Counts(ActorCritic):
    """Each policy of it is another one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("calls", torch.zeros(1))

    def policy(self, observations: Tensor) -> Tensor:
        self.calls += 1.0
        return super().policy(observations) + self.calls


class WrongPolicy(ActorCritic):
    def policy(self, observations: Tensor) -> Tensor:
        return torch.cat([super().policy(observations), observations[..., :1]], -1)


class WrongState(ActorCritic):
    def initial_state(self, rows: int) -> State:
        return torch.zeros(rows, 2)

    def step(self, observations: Tensor, state: State) -> Decision:
        return super().step(observations, state)._replace(state=state[:, :1])


class WrongValues(ActorCritic):
    def values(self, observations: Tensor) -> Tensor:
        return super().values(observations).unsqueeze(-1)


class WrongBoth(ActorCritic):
    def unroll(self, observations: Tensor, state: State, resets: Tensor | None, acted: int) -> Outputs:
        parameters, values = super().unroll(observations, state, resets, acted)
        return Outputs(parameters, values[:acted])


class InOrder(ActorCritic):
    """Remembers nothing, and yet insists on an order."""

    def unroll(self, observations: Tensor, state: State, resets: Tensor | None, acted: int) -> Outputs:
        times, rows, _ = observations.shape
        parameters, values = super().unroll(observations, state, resets, acted)
        return Outputs(parameters, values.reshape(times, rows))


class WrongSize(nn.Module):
    """An encoder that makes as many features as there are numbers, and says one more."""

    def __init__(self, spaces: Spaces, unused_settings: NetworkSettings) -> None:
        super().__init__()
        self.size = spaces.observation_size + 1

    def forward(self, observations: Tensor) -> Tensor:
        return observations


class Raises(nn.Module):
    def __init__(self, *unused: Any) -> None:
        super().__init__()
        1 / 0  # noqa: B018


class RaisesLater(ActorCritic):
    def policy(self, observations: Tensor) -> Tensor:
        return torch.ones(2, 3) @ torch.ones(2, 3)


class Drawn:
    """A sampler that can act on three categories."""

    def __init__(self, distribution: ActionRule, rank: Rank) -> None:
        self.rank = rank

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.zeros(*shape, 3)

    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return parameters.argmax(-1), parameters


class Refuses(Drawn):
    def __init__(self, distribution: ActionRule, rank: Rank) -> None:
        raise KeyError("rank")


class WrongActions(Drawn):
    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return parameters, parameters


class FarActions(Drawn):
    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return parameters.argmax(-1) + 3, parameters


class WrongBehaviour(Drawn):
    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return parameters.argmax(-1), parameters.argmax(-1)


class WrongNoise(Drawn):
    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.zeros(shape[1], shape[0], 3)


class FailsToAct(Drawn):
    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        raise ValueError("not today")


@dataclass(frozen=True)
class Empty(Algorithm):
    """No method at all."""


@dataclass(frozen=True)
class NoNetwork(Algorithm):
    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> Any:
        return None

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        raise AssertionError("never asked")


@dataclass(frozen=True)
class OnPolicyOnly(NoNetwork):
    """Does not say how to learn from what older weights have played."""

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> Any:
        return ActorCritic(spaces, settings, seed)


@dataclass(frozen=True)
class NoTransitions(OnPolicyOnly):
    learns_from: ClassVar[str] = "transitions"
    replay_ratio: ClassVar[float] = 1.0


@dataclass(frozen=True)
class NoStep(OnPolicyOnly):
    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        network = nn.Linear(4, 2)
        network.distribution = distribution_for(spaces)  # type: ignore[assignment]
        return network


@dataclass(frozen=True)
class Dreams(OnPolicyOnly):
    learns_from: ClassVar[str] = "dreams"


@dataclass(frozen=True)
class Subclass(A3C):
    """A3C with a loss of its own, which IMPALA does not know."""


class CountsRows(ActorCritic):
    """What it says depends on how many rows it sees, in a way that no trace follows."""

    def policy(self, observations: Tensor) -> Tensor:
        return super().policy(observations) + float(len(observations) > 2)
