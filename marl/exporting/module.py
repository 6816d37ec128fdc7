"""A policy as one torch module: an environment's observations in, the environment's actions out.

What ``Policy.act`` does in numpy around the network is here in torch, so that a file of this module needs no marl:
statistics normalise observations, the most likely action is taken, stretched to its box or counted from its start.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from marl.acting.policy import Policy
from marl.data.layout import Leaf, Values, dtype_name, leaves, mapped, named
from marl.data.normalizer import CLIP, Normalizer
from marl.data.spaces import Part, Spaces, columns_of
from marl.environments.actions import stretch_of
from marl.errors import ConfigError

EXAMPLE_ROWS = 3  # neither 1 nor any other length that a tracer could take for a constant
TOLERANCE = 1e-4  # of a graph that holds for other numbers of rows


class Field(NamedTuple):
    """One tensor that goes in or comes out."""

    name: str
    dtype: str
    shape: tuple[int, ...]  # without the rows, which come first


class ExportedPolicy(nn.Module):
    """Takes tensors [B, ...] in the order of ``inputs`` and returns others in the order of ``outputs``.

    Inputs are the observation's entries, then what the network remembers. Outputs are the action's entries, the
    parameters of the distribution, then what the network remembers next.
    """

    def __init__(self, policy: Policy) -> None:
        """
        Raises:
            ConfigError: two entries would have the same name.
        """
        super().__init__()
        spaces = policy.spaces
        self.network = policy.network
        self._seen = _Seen(spaces, policy.normalizer)
        self._to_action = _ToAction(spaces)
        self._state = policy.network.initial_state(1)
        self._observations = spaces.observations
        remembered = [
            Field(name, dtype_name(each.dtype), tuple(each.shape[1:])) for name, each in _named("state", self._state)
        ]
        self.inputs = (*(_raw(name, part) for name, part in _named("observation", spaces.observations)), *remembered)
        self.num_observed = len(self.inputs) - len(remembered)
        self.eval()
        with torch.no_grad():
            found = self(*self.example())
        names = [name for name, _ in _named("action", spaces.actions)]
        names += ["parameters", *(f"next_{field.name}" for field in remembered)]
        self.outputs = tuple(
            Field(name, dtype_name(each.dtype), tuple(each.shape[1:])) for name, each in zip(names, found, strict=True)
        )
        for fields in (self.inputs, self.outputs):
            if len({field.name for field in fields}) < len(fields):
                raise ConfigError(f"two of {', '.join(field.name for field in fields)} have the same name: rename one")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        each = iter(inputs)
        seen = self._seen(mapped(lambda unused: next(each), self._observations))
        state = mapped(lambda unused: next(each), self._state)
        parameters, _, state = self.network.step(seen, state)
        actions = self._to_action(self.network.distribution.mode(parameters))
        return (*leaves(actions), parameters, *leaves(state))

    def example(self, rows: int = EXAMPLE_ROWS) -> tuple[Tensor, ...]:
        """Inputs of an episode's first step, all zero but categories that begin elsewhere."""
        parts = leaves(self._observations)
        seen = [
            torch.tensor(part.starts or (0,) * part.size, dtype=getattr(torch, field.dtype)).expand(rows, -1)
            for part, field in zip(parts, self.inputs, strict=False)
        ]
        shaped = (each.reshape(rows, *part.shape) for part, each in zip(parts, seen, strict=True))
        state = (each.expand(rows, *each.shape[1:]) for each in leaves(self._state))
        return tuple(each.clone(memory_format=torch.contiguous_format) for each in chain(shaped, state))


def demand_any_rows(module: ExportedPolicy, graph: Callable[..., tuple[Tensor, ...]]) -> None:
    """Refuse a graph that was made of one example and holds for its number of rows alone.

    Raises:
        Exception: of any kind; with another number of rows it fails or says something else.
    """
    for rows in (1, EXAMPLE_ROWS + 1):
        example = module.example(rows)
        for expected, found in zip(module(*example), graph(*example), strict=True):
            torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


class _Seen(nn.Module):
    """What the network sees of observations [B, *shape]: see ``Preprocess``, which does the same in numpy."""

    mean: Tensor
    scale: Tensor

    def __init__(self, spaces: Spaces, normalizer: Normalizer | None) -> None:
        super().__init__()
        self._parts, self._narrow = spaces.observations, spaces.observation()
        measured = [part for part in leaves(spaces.observations) if part.is_measured]
        self._wide = torch.float64 if spaces.is_wide else torch.float32
        self._normalizes = normalizer is not None and bool(measured)
        if normalizer is not None:
            mean, scale = normalizer.line(wide=spaces.is_wide)
            self.register_buffer("mean", torch.from_numpy(mean.copy()))
            self.register_buffer("scale", torch.from_numpy(scale.copy()))

    def forward(self, observations: Values) -> Values:
        """Rows [B, D] of each entry."""
        end = 0

        def seen(part: Part, narrow: Leaf, each: Tensor) -> Tensor:
            nonlocal end
            rows = each.reshape(-1, part.size)
            if part.categories:
                return (
                    (rows - torch.tensor(part.starts)).to(narrow.dtype) if any(part.starts) else rows.to(narrow.dtype)
                )
            if not part.is_measured or not self._normalizes:
                return rows.to(narrow.dtype)
            start, end = end, end + part.size
            scaled = (rows.to(self._wide) - self.mean[start:end]) * self.scale[start:end]
            return scaled.clamp(-CLIP, CLIP).to(torch.float32)

        return mapped(seen, self._parts, self._narrow, observations)


class _ToAction(nn.Module):
    """The environment's actions of a policy's numbers [B, ...]: see ``action_mapping``, which does so in numpy."""

    def __init__(self, spaces: Spaces) -> None:
        super().__init__()
        self._discrete = spaces.discrete
        self._start = spaces.actions.starts[0] if spaces.discrete else 0
        columns = iter(columns_of(spaces.actions))
        self._found = mapped(
            lambda unused: [_of_part(*next(columns))], spaces.actions
        )  # in lists: no trees of their own

    def forward(self, actions: Tensor) -> Values:
        """A tensor, or a tree of them where the space is one."""
        if self._discrete:
            return actions + self._start
        return mapped(lambda each: each[0](actions), self._found)


def _of_part(part: Part, column: slice) -> Callable[[Tensor], Tensor]:
    if part.categories:
        starts, dtype = torch.tensor(part.starts), getattr(torch, part.dtype)
        return lambda actions: (actions[:, column].long() + starts).reshape(-1, *part.shape).to(dtype)
    scale, centre, low, high = map(torch.from_numpy, stretch_of(part))

    def to_action(actions: Tensor) -> Tensor:
        stretched = actions[:, column] * scale + centre
        return torch.minimum(torch.maximum(stretched, low), high).reshape(-1, *part.shape)

    return to_action


def _raw(name: str, part: Part) -> Field:
    """As environments show it; categories as gymnasium's Discrete counts them."""
    return Field(name, "int64" if part.categories else part.dtype, part.shape)


def _named(what: str, tree: Any) -> Iterator[tuple[str, Any]]:
    for path, each in named(mapped(lambda unused: Leaf((), torch.float32), tree), tree):
        yield f"{what}/{path}" if path else what, each
