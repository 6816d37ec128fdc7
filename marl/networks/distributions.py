"""Policies as pure functions of a network's output: the last axis holds a distribution's parameters.

``torch.distributions`` builds an object and validates at every step; at the size of these networks that costs more
than the network. Noise is drawn for a whole trajectory at once and turned into actions by one fused operation a step.
"""

import math
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from marl.data.layout import leaves
from marl.data.spaces import Parts, Spaces


class ActionRule(Protocol):
    """How actions follow from parameters [..., P]: all that playing needs."""

    num_parameters: int

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Noise for actions of this leading shape."""

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions drawn with that noise."""

    def mode(self, parameters: Tensor) -> Tensor:
        """The most likely actions."""


class Distribution(ActionRule, Protocol):
    """Actions are drawn from it, and a policy gradient can move it."""

    num_deviations: int  # of the parameters, the last: logarithms of deviations, which need not depend on what is seen

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities [...] of actions."""

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropies [...]."""

    def policy_gradient_loss(
        self, parameters: Tensor, actions: Tensor, advantages: Tensor, weights: Tensor, entropy_cost: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over [...] of ``weights * (-advantages log pi - entropy_cost H)``, of its first part, and of the
        entropy.
        """


def _policy_gradient_loss(
    distribution: Distribution,
    parameters: Tensor,
    actions: Tensor,
    advantages: Tensor,
    weights: Tensor,
    entropy_cost: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``Distribution`` says, by its log-probabilities and entropies."""
    policy_loss = -(weights * advantages * distribution.log_prob(parameters, actions)).sum()
    entropy = (weights * distribution.entropy(parameters)).sum()
    return policy_loss - entropy_cost * entropy, policy_loss.detach(), entropy.detach()


class Categorical:
    """One of ``num_parameters`` categories, by logits."""

    num_deviations = 0

    def __init__(self, num_actions: int) -> None:
        self.num_parameters = num_actions

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Gumbel noise [..., P]: the argmax of logits plus it is a draw from the softmax."""
        return torch.empty(*shape, self.num_parameters).exponential_(generator=generator).log_().neg_()

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Categories [...]."""
        return (parameters + noise).argmax(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        """Categories [...]."""
        return parameters.argmax(-1)

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities [...] of categories [...]."""
        return parameters.log_softmax(-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """In nats."""
        log_probs = parameters.log_softmax(-1)
        return -(log_probs.exp() * log_probs).sum(-1)

    def policy_gradient_loss(
        self, parameters: Tensor, actions: Tensor, advantages: Tensor, weights: Tensor, entropy_cost: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, policy loss and entropy, with the gradient in closed form."""
        total, policy_loss, entropy = _CategoricalLoss.apply(parameters, actions, advantages, weights, entropy_cost)  # type: ignore[no-untyped-call]
        return total, policy_loss, entropy


class Gaussian:
    """Independent normals: parameters are ``size`` means, then ``size`` logarithms of deviations."""

    def __init__(self, size: int) -> None:
        self.size = self.num_deviations = size
        self.num_parameters = 2 * size

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard normal noise [..., size]."""
        return torch.empty(*shape, self.size).normal_(generator=generator)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Vectors [..., size]."""
        mean, log_std = parameters[..., : self.size], parameters[..., self.size :]
        return torch.addcmul(mean, log_std.exp(), noise)

    def mode(self, parameters: Tensor) -> Tensor:
        """The means."""
        return parameters[..., : self.size]

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-densities [...] of vectors [..., size]."""
        mean, log_std = parameters[..., : self.size], parameters[..., self.size :]
        standardized = (actions - mean) * torch.exp(-log_std)
        log_probs: Tensor = -(0.5 * standardized.square() + log_std).sum(-1)
        return log_probs - 0.5 * math.log(2 * math.pi) * self.size

    def entropy(self, parameters: Tensor) -> Tensor:
        """In nats."""
        return parameters[..., self.size :].sum(-1) + 0.5 * (1 + math.log(2 * math.pi)) * self.size

    def policy_gradient_loss(
        self, parameters: Tensor, actions: Tensor, advantages: Tensor, weights: Tensor, entropy_cost: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, policy loss and entropy."""
        return _policy_gradient_loss(self, parameters, actions, advantages, weights, entropy_cost)


class _CategoricalLoss(torch.autograd.Function):
    """A quarter of the time that autograd needs for the same dozen small operations.

    With p the softmax, d(-log p_a)/dz = p - onehot(a) and dH/dz = -p (log p + H).
    """

    @staticmethod
    def forward(
        context: Any,
        logits: Tensor,
        actions: Tensor,
        advantages: Tensor,
        weights: Tensor,
        entropy_cost: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_probs = logits.log_softmax(-1)
        probs = log_probs.exp()
        negative_entropy = (probs * log_probs).sum(-1, keepdim=True)
        gains = weights * advantages
        chosen = actions.unsqueeze(-1)
        policy_loss = -(log_probs.gather(-1, chosen).squeeze(-1) * gains).sum()
        entropy = -(negative_entropy.squeeze(-1) * weights).sum()
        gains = gains.unsqueeze(-1)
        gradient = (probs * gains).scatter_add_(-1, chosen, -gains)
        gradient.addcmul_(probs * (log_probs - negative_entropy), weights.unsqueeze(-1), value=entropy_cost)
        context.save_for_backward(gradient)
        context.mark_non_differentiable(policy_loss, entropy)
        return policy_loss - entropy_cost * entropy, policy_loss, entropy

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = context.saved_tensors
        return gradient * grads[0], None, None, None, None


class _Group(NamedTuple):
    """Numbers of an action that are alike and lie together: categories as many as each other, or measured ones."""

    rule: Distribution
    size: int  # numbers
    numbers: slice  # of the action's row
    parameters: slice  # of the network's outputs: logits, or means
    noise: slice
    deviations: slice  # of the logarithms of deviations; empty for categories


class Compound:
    """Rows [..., A] of floating numbers: categories, counted from 0, and measured numbers, in the order of the leaves.

    Parameters are logits and means, in that order as well, and then all logarithms of deviations. Log-probabilities and
    entropies are the sums of those of the parts.
    """

    def __init__(self, actions: Parts) -> None:
        each = [count for part in leaves(actions) for count in part.categories or (0,) * part.size]
        self._groups: list[_Group] = []
        number = output = draw = deviation = 0
        for categories, alike in groupby(each):
            count = len(list(alike))
            outputs = count * (categories or 1)
            rule: Distribution = Categorical(categories) if categories else Gaussian(count)
            spread = 0 if categories else count
            self._groups.append(
                _Group(
                    rule,
                    count,
                    slice(number, number + count),
                    slice(output, output + outputs),
                    slice(draw, draw + outputs),
                    slice(deviation, deviation + spread),
                )
            )
            number, output, draw, deviation = number + count, output + outputs, draw + outputs, deviation + spread
        self._outputs = output
        self.num_deviations = deviation
        self.num_parameters = output + deviation

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Gumbel noise for each category, standard normal noise for each measured number."""
        found = []
        for group in self._groups:
            leading = (*shape, group.size) if isinstance(group.rule, Categorical) else shape
            found.append(group.rule.noise(leading, generator).reshape(*shape, -1))
        return torch.cat(found, -1)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Rows [..., A]."""
        return self._rows(
            parameters, lambda group, mine: group.rule.sample(mine, self._shaped(group, noise[..., group.noise]))
        )

    def mode(self, parameters: Tensor) -> Tensor:
        """The most likely rows [..., A]."""
        return self._rows(parameters, lambda group, mine: group.rule.mode(mine))

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities and -densities [...] of rows [..., A]."""
        total = torch.zeros(())
        for group in self._groups:
            numbers, mine = actions[..., group.numbers], self._of(group, parameters)
            if isinstance(group.rule, Categorical):
                total = total + group.rule.log_prob(mine, numbers.long()).sum(-1)
            else:
                total = total + group.rule.log_prob(mine, numbers)
        return total

    def entropy(self, parameters: Tensor) -> Tensor:
        """In nats."""
        total = torch.zeros(())
        for group in self._groups:
            found = group.rule.entropy(self._of(group, parameters))
            total = total + (found.sum(-1) if isinstance(group.rule, Categorical) else found)
        return total

    def policy_gradient_loss(
        self, parameters: Tensor, actions: Tensor, advantages: Tensor, weights: Tensor, entropy_cost: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, policy loss and entropy."""
        return _policy_gradient_loss(self, parameters, actions, advantages, weights, entropy_cost)

    def _of(self, group: _Group, parameters: Tensor) -> Tensor:
        """A group's own parameters: logits [..., count, categories], or means and deviations [..., 2 count]."""
        mine = self._shaped(group, parameters[..., group.parameters])
        if isinstance(group.rule, Categorical):
            return mine
        return torch.cat([mine, parameters[..., self._outputs :][..., group.deviations]], -1)

    def _shaped(self, group: _Group, values: Tensor) -> Tensor:
        if isinstance(group.rule, Categorical):
            return values.reshape(*values.shape[:-1], group.size, group.rule.num_parameters)
        return values

    def _rows(self, parameters: Tensor, draw: Callable[[_Group, Tensor], Tensor]) -> Tensor:
        return torch.cat([draw(group, self._of(group, parameters)).float() for group in self._groups], -1)


def distribution_for(spaces: Spaces) -> Distribution:
    """The distribution that fits an action space."""
    if spaces.discrete:
        return Categorical(spaces.num_actions)
    return Gaussian(len(spaces.action_low)) if spaces.continuous else Compound(spaces.actions)
