"""Beta distributions: no action lies outside its box, and none gathers at a bound because it was cut off there.

Chou, Maturana and Scherer, "Improving Stochastic Policy Gradients in Continuous Control with Deep Reinforcement
Learning using the Beta Distribution" (2017).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from marl.networks.measured.differentiated import Differentiated

NEAREST = 1e-6  # of a bound, on a scale of 1: the density may be 0 or infinite at a bound itself
LEAST, MOST = -20.0, 1e4  # of what a network says: beyond, float32 blurs the logarithms
TRIES = 4  # of which one serves with a probability of 1 - 6e-6 or more


class Beta(Differentiated):
    """Independent numbers in (-1, 1): x = (a + 1) / 2 has a Beta distribution with alpha, beta = 1 + softplus.

    Above 1, the density has one peak. Parameters are what alpha is made of, then what beta is made of. At the start,
    where both are about 0, the deviation of an action is 0.48.
    """

    needs_bounds = True
    num_deviations = 0
    deviating: tuple[int, ...] = ()

    def __init__(self, size: int) -> None:
        self.size = size
        self.num_parameters = 2 * size
        self.noise_size = 4 * TRIES * size

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard normal noise, and as many logarithms of uniform noise: for each number, for two gamma variables."""
        half = self.noise_size // 2
        normal = torch.empty(*shape, half).normal_(generator=generator)
        return torch.cat([normal, torch.empty(*shape, half).exponential_(generator=generator).neg_()], -1)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Vectors [..., size]: X / (X + Y) of gamma variables X and Y with the shapes alpha and beta.

        Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000), with a fixed number of tries. If
        none is accepted, the first counts.
        """
        excess = self._excess(parameters)
        shape = excess + 2.0 / 3.0  # less 1/3, as the paper's d
        normal, log_uniform = noise.reshape(*noise.shape[:-1], 2, 2 * self.size, TRIES).unbind(-3)
        d = shape.unsqueeze(-1)
        root = (1.0 + normal * (9.0 * d).rsqrt()).clamp_min(NEAREST)
        cube = root**3
        accepted = log_uniform < 0.5 * normal.square() + d * (1.0 - cube + cube.log())
        first = accepted.to(torch.uint8).argmax(-1, keepdim=True)
        ones, others = (shape * cube.gather(-1, first).squeeze(-1)).chunk(2, -1)
        return 2.0 * (ones / (ones + others)).clamp(NEAREST, 1.0 - NEAREST) - 1.0

    def mode(self, parameters: Tensor) -> Tensor:
        """Where the density is highest: x = (alpha - 1) / (alpha + beta - 2)."""
        ones, others = self._excess(parameters).chunk(2, -1)
        return (ones - others) / (ones + others)

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-densities [...] of vectors [..., size]."""
        ones, others = self._excess(parameters).chunk(2, -1)
        x = (0.5 * actions + 0.5).clamp(NEAREST, 1.0 - NEAREST)
        log_probs: Tensor = (ones * x.log() + others * torch.log1p(-x) - _log_norm(ones, others)).sum(-1)
        return log_probs - math.log(2.0) * self.size

    def entropy(self, parameters: Tensor) -> Tensor:
        """In nats."""
        ones, others = self._excess(parameters).chunk(2, -1)
        both = ones + others
        means = ones * torch.digamma(ones + 1.0) + others * torch.digamma(others + 1.0)
        means = means - both * torch.digamma(both + 2.0)
        return (_log_norm(ones, others) - means).sum(-1) + math.log(2.0) * self.size

    def _excess(self, parameters: Tensor) -> Tensor:
        """Alpha - 1, then beta - 1."""
        return functional.softplus(parameters.clamp(LEAST, MOST))


def _log_norm(ones: Tensor, others: Tensor) -> Tensor:
    """The logarithm of the Beta function of 1 + ones and 1 + others."""
    return torch.lgamma(ones + 1.0) + torch.lgamma(others + 1.0) - torch.lgamma(ones + others + 2.0)
