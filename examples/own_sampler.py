"""A sampler of one's own: the first worker keeps to the policy, the last one hardly listens to it.

    marl train examples.own_environment:Catch-v0 --set exploration.sampler=examples.own_sampler:Boltzmann

Works with every algorithm whose actions are categories: the parameters are logits, or with apex_dqn values of actions.
On children each worker gets its rank among the workers of all of them; with the observations exchange it is the parent
that draws. A child has to be told that it may: ``marl child --allow examples``.
"""

import torch
from torch import Tensor

from marl.errors import ConfigError
from marl.networks.distributions import ActionRule, Categorical
from marl.networks.q_network import ActionValues
from marl.networks.sampling import Rank

COLDEST, HOTTEST = 1.0, 3.0  # at 1 the policy itself, at infinity any action


class Boltzmann:
    """Draws from the softmax of parameters / temperature."""

    def __init__(self, distribution: ActionRule, rank: Rank) -> None:
        if not isinstance(distribution, (Categorical, ActionValues)):
            raise ConfigError("exploration.sampler: Boltzmann needs discrete actions")
        self._num_actions = distribution.num_parameters
        self._temperature = COLDEST * (HOTTEST / COLDEST) ** rank.fraction()  # rank: number of total, from 0

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Gumbel noise [..., A], for a whole trajectory at once: the argmax of logits plus it is a draw."""
        return -torch.empty(*shape, self._num_actions).exponential_(generator=generator).log_()

    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B], and the parameters that they were really drawn from [B, A].

        The second is what makes it honest: it is kept beside the actions, and V-trace (impala, and a3c and ppo wherever
        a sampler acts) makes up for the difference between it and the policy that learns.
        """
        tempered = parameters / self._temperature
        return (tempered + noise).argmax(-1), tempered


if __name__ == "__main__":
    from marl.api import train

    settings = {"exploration.sampler": "examples.own_sampler:Boltzmann", "node.workers": 2}
    print(train("examples.own_environment:Catch-v0", settings=settings).reason)
