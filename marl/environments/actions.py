"""From a policy's numbers to an environment's actions.

A fresh policy draws numbers of about -1 to 1. Where a box has bounds on both sides they are stretched to it. Where it
has one bound, or none, a number is taken as it is, but counted from inside the space where 0 does not lie well inside.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.data.layout import mapped
from marl.data.spaces import Part, Spaces, columns_of

Array = npt.NDArray[Any]
FINEST = 1e-3  # of a bound: smaller steps beside it mean little in float32
FAR = 1e4  # a range so wide is seldom meant
LARGEST = 1e35  # no finite bound is taken for more: what is multiplied by it must stay finite in float32


class Stretch(NamedTuple):
    """How measured numbers of an action are stretched: times scale, plus centre, clipped to low and high."""

    scale: Array  # [D], float32, as all of them
    centre: Array
    low: Array
    high: Array


def stretch_of(part: Part) -> Stretch:
    """Of a part that has no categories."""
    low, high = _bounds(part)
    return Stretch(*_line(low, high), low, high)


def action_mapping(spaces: Spaces) -> Callable[[Array], Any]:
    """From the policy's numbers [B, ...] to the environment's: vectors as above, clipped to the box, categories counted
    from where the space begins; of a space that is a tree, a tree of arrays [B, ...].
    """
    if spaces.discrete:
        (start,) = spaces.actions.starts
        return (lambda actions: actions) if start == 0 else (lambda actions: actions + start)
    if spaces.continuous:
        return _measured(spaces.actions)
    columns = iter(columns_of(spaces.actions))

    def of_part(part: Part) -> tuple[slice, Callable[[Array], Array]]:
        _, column = next(columns)
        return column, _counted(part) if part.categories else _measured(part)

    found = mapped(lambda part: [of_part(part)], spaces.actions)  # in lists: a tuple would be a tree of its own

    def to_action(actions: Array) -> Any:
        return mapped(lambda each: each[0][1](actions[:, each[0][0]]), found)

    return to_action


def random_actions(spaces: Spaces, count: int, generator: np.random.Generator) -> Array:
    """As a policy that knows nothing would draw them [count, ...]."""
    if spaces.discrete:
        return generator.integers(0, spaces.num_actions, count)
    drawn: Array = generator.uniform(-1, 1, (count, *spaces.action.shape)).astype(np.float32)
    for part, column in columns_of(spaces.actions):
        if part.categories:
            drawn[:, column] = generator.integers(0, part.categories, (count, part.size))
    return drawn


def hidden_ranges(spaces: Spaces) -> list[str]:
    """What a fresh policy would hardly ever try, in words: one line for all numbers of an action that are alike."""
    found: dict[str, list[str]] = {}
    for part, column in columns_of(spaces.actions):
        if not part.categories:
            _look_at(part, column.start, found)
    remedy = "give bounds within which good actions lie (gymnasium.wrappers.RescaleAction, or the space itself)"
    return [f"number {_few(numbers)} of an action {text}: {remedy}" for text, numbers in found.items()]


def _look_at(part: Part, first: int, found: dict[str, list[str]]) -> None:
    scale, centre, low, high = stretch_of(part)
    for number, bounds in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        middle, width = float(centre[number]), float(scale[number])
        tries = f"{max(bounds[0], middle - 2 * width):g} to {min(bounds[1], middle + 2 * width):g}"
        lacking = " and ".join(side for side, bound in zip(("low", "high"), bounds, strict=True) if np.isinf(bound))
        if lacking:
            text = f"has no {lacking} bound: a fresh policy tries about {tries} and may never find what lies beyond"
        elif width > FAR:
            seldom = f"a fresh policy hardly ever tries less than {width / 100:g}"
            text = f"goes from {bounds[0]:g} to {bounds[1]:g}: {seldom}"
        else:
            continue
        found.setdefault(text, []).append(str(first + number))


def _measured(part: Part) -> Callable[[Array], Array]:
    scale, centre, low, high = stretch_of(part)
    shape = (-1, *part.shape)

    def to_action(actions: Array) -> Array:
        clipped: Array = np.clip(actions * scale + centre, low, high)
        return clipped.reshape(shape)

    return to_action


def _counted(part: Part) -> Callable[[Array], Array]:
    starts, shape, dtype = np.array(part.starts), (-1, *part.shape), part.dtype

    def to_action(actions: Array) -> Array:
        counted: Array = (actions.astype(np.int64) + starts).reshape(shape).astype(dtype)
        return counted

    return to_action


def _bounds(part: Part) -> tuple[Array, Array]:
    """Of float32, and never outside the environment's own, which may be finer."""
    exact = np.array([part.low, part.high])
    exact = np.where(np.isinf(exact), exact, np.clip(exact, -LARGEST, LARGEST))
    low, high = exact.astype(np.float32)
    low = np.where(low < exact[0], np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > exact[1], np.nextafter(high, np.float32(-np.inf)), high)
    return low, high


def _line(low: Array, high: Array) -> tuple[Array, Array]:
    """Scale and centre of each number of an action."""
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    scale, centre = np.ones_like(low), np.zeros_like(low)
    both = has_low & has_high
    scale[both] = high[both] / 2 - low[both] / 2  # halved first: the difference may be more than float32 holds
    centre[both] = high[both] / 2 + low[both] / 2
    above = has_low & ~has_high & (low > -1)
    scale[above] = np.maximum(1, FINEST * np.abs(low[above]))
    centre[above] = low[above] + scale[above]
    below = has_high & ~has_low & (high < 1)
    scale[below] = np.maximum(1, FINEST * np.abs(high[below]))
    centre[below] = high[below] - scale[below]
    return scale, centre


def _few(numbers: list[str]) -> str:
    return ", ".join(numbers) if len(numbers) < 6 else f"{numbers[0]} to {numbers[-1]}, {len(numbers)} in all,"
