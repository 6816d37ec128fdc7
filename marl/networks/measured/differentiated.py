"""Policy gradients of distributions that have no closed form of their own: torch differentiates what they say."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

AdvantagesOf: TypeAlias = Callable[[Tensor], Tensor]  # of log-probabilities [...] of what was done


class Differentiated:
    """A distribution whose log-probabilities and entropies torch can differentiate."""

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities [...] of actions."""
        raise NotImplementedError

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropies [...]."""
        raise NotImplementedError

    def policy_gradient_loss(
        self, parameters: Tensor, actions: Tensor, advantages: Tensor, weights: Tensor, entropy_cost: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, policy loss and entropy."""
        policy_loss = -(weights * advantages * self.log_prob(parameters, actions)).sum()
        entropy = (weights * self.entropy(parameters)).sum()
        return policy_loss - entropy_cost * entropy, policy_loss.detach(), entropy.detach()

    def policy_gradient(
        self, parameters: Tensor, actions: Tensor, advantages_of: AdvantagesOf, weights: Tensor, entropy_cost: float
    ) -> Tensor:
        """See ``Distribution.policy_gradient``."""
        with torch.enable_grad():
            parameters = parameters.detach().requires_grad_()
            log_probs = self.log_prob(parameters, actions)
            total = -(weights * advantages_of(log_probs.detach()) * log_probs).sum()
            if entropy_cost:
                total = total - entropy_cost * (weights * self.entropy(parameters)).sum()
        return torch.autograd.grad(total, parameters)[0]
