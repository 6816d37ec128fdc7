"""Independent normals, whose deviations depend on what is seen or do not."""

import math

import torch
from torch import Tensor

from marl.networks.measured.differentiated import Differentiated

MIN_LOG_STD, MAX_LOG_STD = -5.0, 2.0  # of a deviation that a network says, so that it neither vanishes nor explodes


class Gaussian(Differentiated):
    """Independent normals: parameters are ``size`` means, then ``size`` logarithms of deviations."""

    needs_bounds = False
    deviating: tuple[int, ...] = ()  # outputs of a network that are logarithms of deviations

    def __init__(self, size: int) -> None:
        self.size = self.num_deviations = self.noise_size = size
        self.num_parameters = 2 * size

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """Standard normal noise [..., size]."""
        return torch.empty(*shape, self.size).normal_(generator=generator)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Vectors [..., size]."""
        mean, log_std = self.split(parameters)
        return torch.addcmul(mean, log_std.exp(), noise)

    def mode(self, parameters: Tensor) -> Tensor:
        """The means."""
        return parameters[..., : self.size]

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-densities [...] of vectors [..., size]."""
        mean, log_std = self.split(parameters)
        standardized = (actions - mean) * torch.exp(-log_std)
        log_probs: Tensor = -(0.5 * standardized.square() + log_std).sum(-1)
        return log_probs - 0.5 * math.log(2 * math.pi) * self.size

    def entropy(self, parameters: Tensor) -> Tensor:
        """In nats."""
        _, log_std = self.split(parameters)
        return log_std.sum(-1) + 0.5 * (1 + math.log(2 * math.pi)) * self.size

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of deviations."""
        return parameters[..., : self.size], parameters[..., self.size :]


class StateGaussian(Gaussian):
    """Likewise, where the network says the deviations as well. They are kept between e^-5 and e^2."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.num_deviations = 0
        self.deviating = tuple(range(size, 2 * size))

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = parameters.chunk(2, -1)
        return mean, log_std.clamp(MIN_LOG_STD, MAX_LOG_STD)
