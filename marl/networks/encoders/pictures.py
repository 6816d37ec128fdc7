"""Convolutions over pictures.

"nature": Mnih et al., "Human-level control through deep reinforcement learning" (2015). "dqn": the network of "Playing
Atari with deep reinforcement learning" (2013), half the work. "impala": the residual network of Espeholt et al.,
"IMPALA" (2018), figure 3. "small": two layers that keep a small picture's size; they see its low
bytes as categories, too.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from marl.data.spaces import Part
from marl.errors import ConfigError
from marl.networks.encoders.precision import learned_dtype
from marl.networks.heads import linear

# Channels, side and stride of each layer, none of which pads.
PLAIN = {"nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)), "dqn": ((16, 8, 4), (32, 4, 2))}
NATURE_SIDE, DQN_SIDE = 36, 20  # pixels of the smallest picture that they fit
RESIDUAL = (16, 32, 32)  # channels of each section, which halves the picture
RESIDUAL_SIDE = 8
SMALL = (16, 32)
# A small picture's bytes from 1 to this one are often names of things: as numbers, two of them are all but equal. 0 is
# mostly what is nowhere: a channel that is 1 nearly everywhere would move all features with each update.
CATEGORIES = 15
KEEPS_SIZE = 20 * 20  # pixels; of larger pictures both small layers halve the sides
AT_ONCE = 128  # pictures: what is computed of them stays in a processor's cache
FEATURES = {"nature": 512, "dqn": 256, "impala": 256, "small": 128}


class Conv(nn.Module):
    """A convolution with an orthogonal start."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int,
        generator: torch.Generator,
        *,
        stride: int = 1,
        padding: int = 0,
        scale: float = 1.0,
    ) -> None:
        """
        Args:
            scale: what the pictures are multiplied with: done to the weights, which are fewer.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._stride, self._padding, self._scale = stride, padding, scale
        with torch.no_grad():
            nn.init.orthogonal_(self.weight, math.sqrt(2), generator=generator)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [N, inputs, H, W] to [N, outputs, H', W']."""
        weight = self.weight if self._scale == 1.0 else self.weight * self._scale
        weight, bias = weight.to(pictures.dtype), self.bias.to(pictures.dtype)
        return functional.conv2d(pictures, weight, bias, self._stride, self._padding)


class Categories(nn.Module):
    """Channels of bytes, as numbers from 0 to 1, and one more for each low value but 0: 1 where it is seen."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [N, C, H, W] to [N, (1 + CATEGORIES) C, H, W]."""
        # Not a buffer: those are weights, which networks share and targets follow.
        values = torch.arange(1, 1 + CATEGORIES, dtype=pictures.dtype, device=pictures.device).reshape(-1, 1, 1, 1)
        seen = torch.eq(pictures.unsqueeze(1), values).to(pictures.dtype).flatten(1, 2)
        return torch.cat([pictures / 255, seen], 1)


class Residual(nn.Module):
    """Two convolutions whose result is added to what came."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = Conv(channels, channels, 3, generator, padding=1)
        self.second = Conv(channels, channels, 3, generator, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Of the same shape."""
        return cast(Tensor, pictures + self.second(torch.relu(self.first(torch.relu(pictures)))))


class Section(nn.Module):
    """Of the residual network: a convolution, half the size, two residual blocks."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator, *, scale: float) -> None:
        super().__init__()
        self.first = Conv(inputs, outputs, 3, generator, padding=1, scale=scale)
        self.blocks = nn.Sequential(Residual(outputs, generator), Residual(outputs, generator))

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [N, inputs, H, W] to [N, outputs, H / 2, W / 2]."""
        return cast(Tensor, self.blocks(functional.max_pool2d(self.first(pictures), 3, 2, 1)))


class PictureEncoder(nn.Module):
    """Features [..., size] of pictures [..., D] in rows of bytes."""

    def __init__(
        self,
        part: Part,
        kind: str,
        generator: torch.Generator,
        *,
        layer_norm: bool = False,
        precision: str = "float32",
    ) -> None:
        """
        Args:
            kind: "nature", "dqn", "impala", "small", or "auto": what fits the picture.
            layer_norm: normalise what the last layer has computed.
            precision: of products while gradients are computed, one of ``PRECISIONS``.

        Raises:
            ConfigError: the picture is too small.
        """
        super().__init__()
        self._shape, self._channels_last = part.shape, channels_last(part.shape)
        height, width, channels = self._sizes()
        kind = kind_for(min(height, width)) if kind == "auto" else kind
        least = {"nature": NATURE_SIDE, "dqn": DQN_SIDE, "impala": RESIDUAL_SIDE}.get(kind, 1)
        if min(height, width) < least:
            raise ConfigError(
                f"network.encoder: expected pictures of at least {least} x {least} pixels for {kind!r}, got "
                f"{height} x {width}: leave it out, or make the pictures larger"
            )
        layers: list[nn.Module] = []
        scale = 1 / 255  # bytes as numbers from 0 to 1
        if kind in PLAIN:
            for outputs, side, stride in PLAIN[kind]:
                layers += [Conv(channels, outputs, side, generator, stride=stride, scale=scale), nn.ReLU()]
                channels, scale = outputs, 1.0
        elif kind == "impala":
            for outputs in RESIDUAL:
                layers.append(Section(channels, outputs, generator, scale=scale))
                channels, scale = outputs, 1.0
            layers.append(nn.ReLU())
        else:
            stride = 1 if height * width <= KEEPS_SIZE else 2
            layers.append(Categories())
            channels *= 1 + CATEGORIES
            for outputs in SMALL:
                layers += [Conv(channels, outputs, 3, generator, stride=stride, padding=1), nn.ReLU()]
                channels = outputs
        self._residual, self._learned_dtype = kind == "impala", learned_dtype(precision)
        self.layers = nn.Sequential(*layers)
        self.size = FEATURES[kind]
        with torch.no_grad():
            flat = self.layers(torch.zeros(1, self._sizes()[2], height, width)).numel()
        self.last = linear(flat, self.size, math.sqrt(2), generator)
        self.norm = nn.LayerNorm(self.size) if layer_norm else None

    def forward(self, rows: Tensor) -> Tensor:
        """See the class."""
        shape = *rows.shape[:-1], self.size
        rows = rows.reshape(-1, rows.shape[-1])
        # A program that is exported takes any number of rows, so it must not ask how many there are.
        whole = torch.is_grad_enabled() or torch.compiler.is_compiling() or rows.device.type != "cpu"
        if whole or len(rows) <= AT_ONCE:
            return self._features(rows).reshape(shape)
        return torch.cat([self._features(some) for some in torch.split(rows, AT_ONCE)]).reshape(shape)

    def _features(self, rows: Tensor) -> Tensor:
        """Features [N, size] of pictures [N, D]."""
        pictures = rows.reshape(-1, *self._shape)
        if self._channels_last:
            pictures = pictures.movedim(-1, 1)
        elif self._residual or torch.is_grad_enabled():
            # Pixel by pixel in memory the gradient of a convolution of few channels takes half to two thirds of the
            # time, and so does a residual network without it. Bytes are quicker to move than floats.
            pictures = pictures.contiguous(memory_format=torch.channels_last)
        weight, bias = self.last.weight, self.last.bias
        if self._learned_dtype == torch.bfloat16 and torch.is_grad_enabled():  # it holds bytes exactly
            found = self.layers(pictures.to(torch.bfloat16)).flatten(1)
            features = functional.linear(found, weight.to(found.dtype), bias.to(found.dtype)).to(weight.dtype)
        else:
            features = functional.linear(self.layers(pictures.to(weight.dtype)).flatten(1), weight, bias)
        if self.norm is not None:
            features = self.norm(features)
        return torch.relu(features)

    def _sizes(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        if self._channels_last:
            return cast(tuple[int, int, int], self._shape)
        return self._shape[1], self._shape[2], self._shape[0]


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether a picture's last dimension holds its channels: the smaller of first and last does."""
    return shape[-1] <= shape[0]


def is_large(part: Part) -> bool:
    """Whether it is a picture that takes a large network."""
    sides = part.shape[:-1] if part.is_picture and channels_last(part.shape) else part.shape[1:]
    return part.is_picture and kind_for(min(sides)) == "nature"


def kind_for(side: int) -> str:
    """The kind of network for pictures whose shorter side has this many pixels."""
    return "nature" if side >= NATURE_SIDE else "small"
