"""What numbers of an environment can be learned from: the same rules where it is checked and where it is trained on."""

from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.data.spaces import Part
from marl.words import printable

Array = npt.NDArray[Any]
NUMBERS, WHOLE = "fiub", "iub"  # numpy's kinds of types
LARGEST = float(np.finfo(np.float32).max)
EACH = "each category of the actions"  # has a number in a mask
# A number is blurred if float32 tells at most ``FEW`` of its values apart. If it varies by less than ``ROUNDING`` of
# float32's own steps, the variation is only rounding in float64.
FEW, ROUNDING = 8.0, 1e-6


def kind_fault(name: str, numbers: Array, kinds: str = NUMBERS) -> str | None:
    """Which type in ``numbers`` is not of these kinds, in words that begin with ``name``; None if all are."""
    if numbers.dtype.kind in kinds:
        return None
    if kinds == WHOLE:
        return f"{name} holds {numbers.dtype} where whole numbers belong"
    return f"{name} {_first(numbers)!r:.40} is no number"


def fault_of(name: str, numbers: Array) -> str | None:
    """Why something in ``numbers`` cannot be learned from, in words that begin with ``name``; None if all of it can."""
    if fault := kind_fault(name, numbers):
        return fault
    if numbers.dtype.kind != "f":
        return None  # integers are all within float32
    usable = np.isfinite(numbers)
    if numbers.dtype.itemsize > 4:
        usable &= np.abs(numbers) <= LARGEST
    if usable.all():
        return None
    worst = numbers[~usable].ravel()[0]
    return f"{name} {worst:g} is {'too large for float32' if np.isfinite(worst) else 'not finite'}"


def part_fault(name: str, part: Part, numbers: Array) -> str | None:
    """Why something in the numbers of a leaf cannot be learned from; None if all of it can."""
    if part.mask:
        numbers = as_mask(numbers)
    return category_fault(name, part, numbers) if part.categories else fault_of(name, numbers)


def category_fault(name: str, part: Part, numbers: Array) -> str | None:
    """Likewise of numbers [..., *shape] that are categories, counted from 0; in words as the environment counts."""
    if fault := kind_fault(name, numbers, WHOLE):
        return fault
    columns = numbers.reshape(-1, part.size).T
    for column, count, start in zip(columns, part.categories, part.starts, strict=True):
        if column.size and not 0 <= column.min() <= column.max() < count:
            worst = start + (column.max() if column.max() >= count else column.min())
            return f"{name} {worst} lies outside its space of {start} to {start + count - 1}"
    return None


def as_mask(numbers: Array) -> Array:
    """A mask as whole numbers, where it came as floats that are 0 or 1; whatever else as it is."""
    return numbers.astype(np.int8) if numbers.dtype.kind == "f" and is_mask(numbers) else numbers


def whole_mask(mask: Any, size: int, when: str = "") -> Array:
    """One mask [size] as whole numbers, in whatever form it came.

    Args:
        when: after how many steps, in words that begin with a space; "": that is not said.

    Raises:
        ValueError: it holds something else than 0 and 1, or has another size, in words that follow its name.
    """
    try:
        rows = [np.ravel(each) for each in _rows(mask)]
        numbers = np.concatenate(rows) if rows else np.zeros(0)
    except (TypeError, ValueError, RuntimeError):  # lists of different lengths, a tensor on a device
        raise ValueError(f"is no row of numbers{when}, expected {size}, one for {EACH}") from None
    if not is_mask(numbers):
        held = [each for row in rows for each in row.tolist()]
        odd = [each for each in held if not isinstance(each, Real | np.bool_) or each not in (0, 1)]
        if odd:
            said = f"{float(odd[0]):g}" if isinstance(odd[0], Real) else repr(odd[0])
            raise ValueError(f"holds {printable(said, 40)}{when}, expected 0 or 1 for {EACH}")
    if numbers.size != size:
        raise ValueError(f"has {numbers_in_words(numbers.size)}{when}, expected {size}, one for {EACH}")
    return numbers.astype(np.int8)


def is_mask(numbers: Array) -> bool:
    """Whether all of them are 0 or 1."""
    return numbers.dtype.kind in "biuf" and bool(((numbers == 0) | (numbers == 1)).all())


def numbers_in_words(count: int) -> str:
    """So many numbers."""
    return f"{count} number{'s' * (count != 1)}"


def _rows(mask: Any) -> list[Any]:
    """gymnasium's masks of a MultiDiscrete are tuples of arrays."""
    return list(mask) if isinstance(mask, tuple | list) else [mask]


def reward_of(answer: Any) -> Array:
    """A single reward [1] as a vector of environments holds it.

    Raises:
        TypeError, ValueError, OverflowError: it is not one number.
    """
    held = np.zeros(1)
    held[0] = answer
    return held


def answers_of(rewards: Any, terminated: Any, truncated: Any, count: int) -> tuple[Array, Array, Array]:
    """What a vector of environments says of rewards and ends, as arrays [count]; equivalent forms are taken.

    Raises:
        ValueError: one is something else, in words that begin with its name.
    """
    if (  # as gymnasium's answer: one look, once a step
        type(rewards) is type(terminated) is type(truncated) is np.ndarray
        and rewards.shape == terminated.shape == truncated.shape == (count,)
        and terminated.dtype.kind == truncated.dtype.kind == "b"
        and rewards.dtype.kind in NUMBERS
    ):
        return rewards, terminated, truncated
    rewards = row_of("rewards", rewards, count)
    terminated, truncated = ends_of("terminated", terminated, count), ends_of("truncated", truncated, count)
    if fault := kind_fault("reward", rewards):
        raise ValueError(fault)
    return rewards, terminated, truncated


def ends_of(name: str, answer: Any, count: int) -> Array:
    """What a vector of environments says of its ends, as bools [count]; equivalent forms are taken, such as a list.

    Raises:
        ValueError: it is something else, in words that begin with ``name``.
    """
    if isinstance(answer, np.ndarray) and answer.dtype == np.bool_ and answer.shape == (count,):
        return answer
    held = row_of(name, answer, count)
    for each in held.tolist():
        if not isinstance(each, int | np.bool_) or each not in (0, 1):
            raise ValueError(f"{name} {each!r:.40} is neither True nor False")
    return held.astype(bool)


def row_of(name: str, answer: Any, count: int) -> Array:
    """An answer of ``count`` environments as an array.

    Raises:
        ValueError: it is none, such as lists of different lengths, or of another shape, in words that begin with
            ``name``.
    """
    try:
        held = np.asarray(answer)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a device, or one that has a gradient
        words = " ".join(str(error).split())
        raise ValueError(f"{name} that are no array but a {type(answer).__name__} ({words:.100})") from None
    if held.shape != (count,):
        raise ValueError(f"{name} {f'of shape {held.shape}' if held.shape else repr(answer)[:40]} for {count}")
    return held


def blurred(observations: Array) -> str | None:
    """Which numbers of observations [N, D] vary by less than float32 can hold, in words; None if there are none."""
    wide = observations.astype(np.float64)
    low, high = wide.min(axis=0), wide.max(axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore"):
        steps = np.spacing(size.astype(np.float32))
    lost = (high - low < FEW * steps) & (high - low > ROUNDING * steps)
    if not lost.any():
        return None
    worst = int(np.flatnonzero(lost)[0])
    more = f" and {lost.sum() - 1} more" if lost.sum() > 1 else ""
    return (
        f"number {worst} of an observation{more} varies by {high[worst] - low[worst]:.3g} around {size[worst]:.6g}, "
        "which float32 does not tell apart: set environment.normalize_observations = true"
    )


def _first(numbers: Array) -> Any:
    return numbers.ravel()[0] if numbers.size else None
