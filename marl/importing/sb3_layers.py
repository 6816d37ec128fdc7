"""The layers of a stable-baselines3 policy, made of its tensors, and what lies before and behind them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from marl.data.spaces import Part
from marl.errors import WeightsFileError
from marl.networks.encoders.inputs import Inputs
from marl.networks.encoders.pictures import channels_last

LEAST_VARIANCE = 1e-6  # of use_sde
CONVOLUTIONS = {"cnn.0": (8, 4), "cnn.2": (4, 2), "cnn.4": (3, 1)}  # of NatureCNN: side and stride


class Parts:
    """Makes layers of tensors, and knows which of them nobody has used."""

    def __init__(self, tensors: dict[str, Tensor], unused: tuple[str, ...], path: object) -> None:
        """
        Args:
            unused: what the names of tensors begin with that no action depends on.
        """
        left = {name: each for name, each in tensors.items() if not name.startswith(unused)}
        self._left = {name: each for name, each in left.items() if not name.startswith("pi_")}
        # The extractor of the actor is saved again under this name, and may be another than the common one.
        self._left |= {name.removeprefix("pi_"): each for name, each in left.items() if name.startswith("pi_")}
        self._path = path

    def convolutions(self, prefix: str) -> list[nn.Module]:
        """NatureCNN; [] where there is none."""
        found: list[nn.Module] = []
        for name, (side, stride) in CONVOLUTIONS.items():
            if f"{prefix}{name}.weight" not in self._left:
                break
            weight, bias = self._take(f"{prefix}{name}.", dimensions=4)
            if weight.shape[2:] != (side, side):
                raise WeightsFileError(
                    f"{self._path}: expected the convolutions of NatureCNN, got {prefix}{name}.weight of the shape "
                    f"{list(weight.shape)}: policies with parts of their own cannot be read"
                )
            layer = nn.Conv2d(weight.shape[1], weight.shape[0], side, stride)
            found += [_filled(layer, weight, bias), nn.ReLU()]
        return [*found, nn.Flatten(), self.linear(f"{prefix}linear.0."), nn.ReLU()] if found else []

    def hidden(self, prefix: str, activation: type[nn.Module]) -> list[nn.Module]:
        """Linear layers with an activation after each: every other module of a sequence."""
        found: list[nn.Module] = []
        while f"{prefix}{len(found)}.weight" in self._left:
            found += [self.linear(f"{prefix}{len(found)}."), activation()]
        return found

    def linear(self, prefix: str) -> nn.Linear:
        """One layer."""
        weight, bias = self._take(prefix, dimensions=2)
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        _filled(layer, weight, bias)
        return layer

    def deviations(self, name: str) -> Tensor | None:
        """Logarithms of the deviations of PPO and A2C, [A] for each number of an action; with use_sde, [F, A]."""
        return self._left.pop(name, None)

    def demand_all_used(self) -> None:
        """Refuse a policy with more than is known here."""
        if self._left:
            raise WeightsFileError(
                f"{self._path}: expected the layers of an MlpPolicy or CnnPolicy, or of a MultiInputPolicy and an "
                f"environment with its Dict, got also {next(iter(self._left)):.80}: policies with parts of their own "
                "cannot be read"
            )

    def _take(self, prefix: str, *, dimensions: int) -> tuple[Tensor, Tensor]:
        weight, bias = (self._left.pop(f"{prefix}{name}", None) for name in ("weight", "bias"))
        if weight is None or bias is None or weight.ndim != dimensions or bias.shape != weight.shape[:1]:
            raise WeightsFileError(f"{self._path}: expected a layer {prefix}weight with its bias, got none that fits")
        return weight, bias


class Rows(nn.Module):
    """Observations as numbers in a row: categories as ones and zeros, pixels from 0 to 1, channels first."""

    def __init__(self, part: Part, width: int, path: object) -> None:
        super().__init__()
        hot = Inputs(part)
        self._see: Callable[[Tensor], Tensor] = Tensor.float  # whatever it is, as MultiBinary is seen
        if part.is_picture:
            pictures = Pictures(part, path)
            self._see = lambda pixels: pictures(pixels).flatten(1)
        elif part.categories and width == hot.size:
            self._see = hot
        elif width != part.size:
            raise WeightsFileError(
                f"{path}: expected observations of {width} numbers, and the environment's have {part.size}: name the "
                "environment that it was trained in, wrappers included"
            )

    def forward(self, observations: Tensor) -> Tensor:
        return self._see(observations)


class Pictures(nn.Module):
    """Pixels [B, D] of bytes as pictures [B, C, H, W] from 0 to 1."""

    def __init__(self, part: Part, path: object) -> None:
        super().__init__()
        if not part.is_picture:
            raise WeightsFileError(
                f"{path}: expected an environment that shows pictures (bytes, three dimensions) to a CnnPolicy, got "
                f"{part.dtype} {list(part.shape)}"
            )
        self._shape, self._last = part.shape, channels_last(part.shape)

    def forward(self, pixels: Tensor) -> Tensor:
        pictures = pixels.reshape(-1, *self._shape).float() / 255.0
        return pictures.movedim(-1, 1) if self._last else pictures


class Entries(nn.Module):
    """The features of a Dict's entries in a row: of pictures, what their own convolutions make of them."""

    def __init__(
        self, parts: dict[str, Part], convolutions: Sequence[list[nn.Module]], width: int, path: object
    ) -> None:
        super().__init__()
        layers = dict(zip(parts, convolutions, strict=True))
        others = {name: part for name, part in parts.items() if not layers[name]}
        hot = {name: Inputs(part).size if part.categories else part.size for name, part in others.items()}
        # MultiBinary is seen as it is, and marl holds it as it does categories of two each.
        bits = {
            name: part.size if part.shape and set(part.categories) == {2} else hot[name]
            for name, part in others.items()
        }
        left = width - sum(each[-2].out_features for each in layers.values() if each)  # type: ignore[misc]
        widths = next((each for each in (hot, bits) if sum(each.values()) == left), None)
        if widths is None:
            raise WeightsFileError(
                f"{path}: expected entries of {left} numbers beside pictures, and the environment's have "
                f"{sum(hot.values())}: name the environment that it was trained in, wrappers included"
            )
        self._names = list(parts)
        self._layers = nn.ModuleList(
            nn.Sequential(Pictures(part, path), *layers[name]) if layers[name] else Rows(part, widths[name], path)
            for name, part in parts.items()
        )

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return torch.cat([layer(observations[name]) for name, layer in zip(self._names, self._layers, strict=True)], -1)


class Deviations(nn.Module):
    """Logarithms of the standard deviations that ``use_sde`` computes from features. Noise is drawn at every step."""

    def __init__(self, log_std: Tensor, means: nn.Linear, path: object) -> None:
        super().__init__()
        features, size = means.in_features, means.out_features
        if log_std.shape not in ((features, size), (features, 1)):
            raise WeightsFileError(
                f"{path}: expected deviations of {features} features and {size} actions, got {list(log_std.shape)}"
            )
        self._variances = log_std.exp().square().expand(features, size)

    def forward(self, features: Tensor) -> Tensor:
        return 0.5 * torch.log(features.square() @ self._variances + LEAST_VARIANCE)


class Beside(nn.Module):
    """What each layer makes of the same features, in a row."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self._layers = nn.ModuleList(layers)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([layer(features) for layer in self._layers], -1)


class Measured(nn.Module):
    """Means in the environment's own numbers as marl counts them, and the logarithms of deviations beside them.

    Where ``log_std`` is None, these come beside the means.
    """

    def __init__(self, scale: Tensor, centre: Tensor, log_std: Tensor | None) -> None:
        super().__init__()
        self._scale, self._centre, self._log_std = scale, centre, log_std

    def forward(self, means: Tensor) -> Tensor:
        log_std = self._log_std
        if log_std is None:
            means, log_std = means.chunk(2, -1)
        deviations = (log_std - self._scale.log()).expand_as(means)
        return torch.cat([(means - self._centre) / self._scale, deviations], -1)


class Pairs(nn.Module):
    """Logits of 1 as logits of 0 and 1."""

    def forward(self, logits: Tensor) -> Tensor:
        return torch.stack([torch.zeros_like(logits), logits], -1).flatten(1)


def _filled(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)  # type: ignore[union-attr]
    return layer
