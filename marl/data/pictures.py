"""Bytes that look like pictures, and that convolutions do not take: they have no channels, or a dimension too many."""

import math
from typing import NamedTuple

from marl.data.layout import named
from marl.data.spaces import PICTURE_SIDES, Parts
from marl.words import place

LEAST = 7  # pixels of the shorter side: as many as the smallest pictures have, those of MiniGrid


class Flat(NamedTuple):
    """A leaf whose pictures go through hidden layers."""

    what: str  # it is, in words
    remedy: str
    numbers: int


def flat_pictures(parts: Parts) -> Flat | None:
    """The first leaf of this kind in a tree of observations; None if there is none."""
    for path, part in named(parts, parts):
        sides = sorted(part.shape)
        if part.dtype != "uint8" or len(sides) not in (PICTURE_SIDES - 1, PICTURE_SIDES + 1) or sides[-2] < LEAST:
            continue
        name, shape = place("observation", path), list(part.shape)
        if len(shape) < PICTURE_SIDES:
            what = f"{name} is a picture {shape} without channels"
            remedy = f"add a dimension, such as gymnasium.wrappers.ReshapeObservation(environment, {(*part.shape, 1)})"
        else:
            what = f"{name} is a stack {shape} of pictures with channels"
            remedy = "make each picture grey before they are stacked, by gymnasium.wrappers.GrayscaleObservation"
        return Flat(what, remedy, math.prod(shape))
    return None


def flat_note(parts: Parts) -> str | None:
    """What to say of observations that have such a leaf, where nobody has asked for hidden layers."""
    flat = flat_pictures(parts)
    if flat is None:
        return None
    return (
        f"{flat.what}: hidden layers see it as a row of {flat.numbers:,} numbers; for convolutions, {flat.remedy} (or "
        "ask for hidden layers: network.encoder=mlp)"
    )
