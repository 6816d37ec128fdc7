"""Policies as pure functions of a network's output: the last axis holds a distribution's parameters.

``torch.distributions`` builds an object and validates at every step; at the size of these networks that costs more
than the network. Noise is drawn for a whole trajectory at once and turned into actions by one fused operation a step.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from marl.data.layout import leaves
from marl.data.spaces import Parts, Spaces
from marl.errors import ConfigError
from marl.networks.measured.beta import Beta
from marl.networks.measured.differentiated import AdvantagesOf, Differentiated
from marl.networks.measured.gaussian import Gaussian, StateGaussian
from marl.networks.measured.squashed import Squashed


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

    def policy_gradient(
        self, parameters: Tensor, actions: Tensor, advantages_of: AdvantagesOf, weights: Tensor, entropy_cost: float
    ) -> Tensor:
        """The gradient of that loss by the parameters [..., P], as a number: autograd remembers nothing.

        Args:
            advantages_of: makes them of the log-probabilities [...] of the actions.
        """


class Categorical:
    """One of ``num_parameters`` categories, by logits."""

    num_deviations = 0
    deviating: tuple[int, ...] = ()

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

    def policy_gradient(
        self, parameters: Tensor, actions: Tensor, advantages_of: AdvantagesOf, weights: Tensor, entropy_cost: float
    ) -> Tensor:
        """See ``Distribution.policy_gradient``."""
        log_probs, chosen = parameters.log_softmax(-1), actions.unsqueeze(-1)
        gains = weights * advantages_of(log_probs.gather(-1, chosen).squeeze(-1))
        probs = log_probs.exp()
        gradient = _gradient(probs, chosen, gains)
        if entropy_cost:
            negative_entropy = (probs * log_probs).sum(-1, keepdim=True)
            gradient.addcmul_(probs * (log_probs - negative_entropy), weights.unsqueeze(-1), value=entropy_cost)
        return gradient


class _CategoricalLoss(torch.autograd.Function):
    """A quarter of the time that autograd needs for the same dozen small operations. dH/dz = -p (log p + H)."""

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
        gradient = _gradient(probs, chosen, gains)
        gradient.addcmul_(probs * (log_probs - negative_entropy), weights.unsqueeze(-1), value=entropy_cost)
        context.save_for_backward(gradient)
        context.mark_non_differentiable(policy_loss, entropy)
        return policy_loss - entropy_cost * entropy, policy_loss, entropy

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = context.saved_tensors
        return gradient * grads[0], None, None, None, None


def _gradient(probs: Tensor, chosen: Tensor, gains: Tensor) -> Tensor:
    """Of ``-gains log p_a`` by logits: d(-log p_a)/dz = p - onehot(a), with p the softmax."""
    gains = gains.unsqueeze(-1)
    return (probs * gains).scatter_add_(-1, chosen, -gains)


Measured = Gaussian | StateGaussian | Squashed | Beta
POLICIES: dict[str, type[Measured]] = {
    "gaussian": Gaussian,
    "state_gaussian": StateGaussian,
    "squashed": Squashed,
    "beta": Beta,
}


class _Group(NamedTuple):
    """Numbers of an action that are alike and lie together: categories as many as each other, or measured ones."""

    rule: Categorical | Measured
    size: int  # numbers
    numbers: slice  # of the action's row
    parameters: slice  # of the network's outputs: logits, or what measured numbers are drawn by
    noise: slice
    deviations: slice  # of the logarithms of deviations that are no outputs; empty for categories


class Compound(Differentiated):
    """Rows [..., A] of floating numbers: categories, counted from 0, and measured numbers, in the order of the leaves.

    Parameters are logits and what measured numbers are drawn by, in that order as well, and then all logarithms of
    deviations that are no outputs of a network. Log-probabilities and entropies are the sums of those of the parts.
    """

    def __init__(self, actions: Parts, measured: type[Measured] = Gaussian) -> None:
        each = [count for part in leaves(actions) for count in part.categories or (0,) * part.size]
        self._groups: list[_Group] = []
        self.deviating: tuple[int, ...] = ()  # outputs of a network that are logarithms of deviations
        number = output = draw = deviation = 0
        for categories, alike in groupby(each):
            count = len(list(alike))
            rule = Categorical(categories) if categories else measured(count)
            if isinstance(rule, Categorical):
                outputs = draws = count * categories
            else:
                outputs, draws = rule.num_parameters - rule.num_deviations, rule.noise_size
                self.deviating += tuple(output + each for each in rule.deviating)
            self._groups.append(
                _Group(
                    rule,
                    count,
                    slice(number, number + count),
                    slice(output, output + outputs),
                    slice(draw, draw + draws),
                    slice(deviation, deviation + rule.num_deviations),
                )
            )
            number, output, draw = number + count, output + outputs, draw + draws
            deviation += rule.num_deviations
        self._outputs = output
        self.num_deviations = deviation
        self.num_parameters = output + deviation

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Gumbel noise for each category, and what each measured number needs."""
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

    def _of(self, group: _Group, parameters: Tensor) -> Tensor:
        """A group's own parameters: logits [..., count, categories], or those of measured numbers [..., 2 count]."""
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


def distribution_for(spaces: Spaces, policy: str | None = None) -> Categorical | Measured | Compound:
    """The distribution that fits an action space.

    Args:
        policy: of the numbers that are measured: one of ``POLICIES``; None: "gaussian".

    Raises:
        ConfigError: the actions do not fit such a policy.
    """
    if policy is not None:
        _demand_fit(spaces, policy)
    if spaces.discrete:
        return Categorical(spaces.num_actions)
    measured = POLICIES[policy or "gaussian"]
    return measured(len(spaces.action_low)) if spaces.continuous else Compound(spaces.actions, measured)


def _demand_fit(spaces: Spaces, policy: str) -> None:
    if policy not in POLICIES:
        raise ConfigError(f"network.policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
    if all(part.categories for part in leaves(spaces.actions)):
        raise ConfigError(
            f"network.policy = {policy!r} is for continuous actions, and this environment has {spaces.action_words}: "
            "leave it out, or --set network.policy=None where a preset sets it"
        )
    if POLICIES[policy].needs_bounds and not spaces.bounded:
        raise ConfigError(
            f"network.policy = {policy!r} needs actions with bounds on both sides, and some of this environment's lack "
            "one: use gaussian or state_gaussian"
        )
