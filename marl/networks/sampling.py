"""How a worker draws its actions: as the policy says, or otherwise, to explore."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from marl.errors import MarlError, PluginError
from marl.networks.distributions import ActionRule
from marl.plugins import load_object

OVERWHELMING = 1e30  # beside which no action's value matters


class Rank(NamedTuple):
    """A worker's place among all workers of all children."""

    number: int  # from 0
    total: int

    @classmethod
    def among(cls, worker: int, workers: int, child: int, children: int) -> "Rank":
        """Of a worker of this child. Each child covers the whole range, in as many steps as it has workers; no two have
        the same place where all have equally many.
        """
        return cls(min(worker, workers - 1) * children + child, workers * children)

    def fraction(self) -> float:
        """0 for the first, 1 for the last; 0 for one that is alone."""
        return self.number / (self.total - 1) if self.total > 1 else 0.0


class Sampler(Protocol):
    """Turns what a network says into actions; made once a worker, asked once a step."""

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Noise for actions of this leading shape: drawn for a whole trajectory at once."""

    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions, and the parameters of the distribution that they were really drawn from."""


class OnPolicy:
    """Acts as the policy says."""

    def __init__(self, distribution: ActionRule) -> None:
        self._distribution = distribution
        self.noise = distribution.noise

    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Sampler``."""
        return self._distribution.sample(parameters, noise), parameters


class EpsilonGreedy:
    """The action of the greatest value, or with a chance any: noise that decides alone where it is not 0."""

    def __init__(self, num_actions: int, epsilons: Callable[[int], Tensor]) -> None:
        """``epsilons``: one chance for each environment."""
        self._num_actions, self._epsilons = num_actions, epsilons

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """See ``Sampler``; the last of ``shape`` are the environments."""
        explores = torch.rand(*shape, generator=generator) < self._epsilons(shape[-1])
        overwhelming = torch.rand(*shape, self._num_actions, generator=generator).mul_(OVERWHELMING)
        return overwhelming.mul_(explores.unsqueeze(-1))

    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Sampler``."""
        return (parameters + noise).argmax(-1), parameters


def own_sampler(name: str, distribution: ActionRule, rank: Rank) -> Sampler:
    """A user's own: ``package.module:Class``, made as ``Class(distribution, rank)``.

    Raises:
        PluginError: there is no such class, or it is no sampler.
    """
    made = load_object(name)
    if not (isinstance(made, type) and callable(getattr(made, "noise", None)) and callable(getattr(made, "act", None))):
        raise PluginError(
            f"exploration.sampler: expected a class with the methods noise and act of marl.networks.sampling.Sampler, "
            f"{name} is {made!r:.80}"
        )
    try:
        return cast(Sampler, made(distribution, rank))
    except MarlError:
        raise
    except Exception as error:  # whatever a user's constructor does
        raise PluginError(
            f"exploration.sampler: {name}(distribution, rank) failed: {type(error).__name__}: {error}"
        ) from error
