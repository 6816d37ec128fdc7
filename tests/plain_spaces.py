"""Spaces of one array and one action."""

from collections.abc import Sequence

from marl.data.spaces import Part, Spaces


def plain_spaces(
    observation_shape: Sequence[int],
    *,
    num_actions: int = 0,
    action_shape: Sequence[int] = (),
    action_start: int = 0,
    action_low: Sequence[float] = (),
    action_high: Sequence[float] = (),
    observation_dtype: str = "float32",
) -> Spaces:
    """Observations that are one array; actions that are one category (``num_actions``), or one vector."""
    seen = Part(tuple(observation_shape), observation_dtype)
    if num_actions:
        return Spaces(seen, Part((), "int32", (num_actions,), (action_start,)))
    return Spaces(seen, Part(tuple(action_shape), low=tuple(action_low), high=tuple(action_high)))
