"""Policies of every kind of space and network, with weights and statistics that are not the first ones."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marl.acting.policy import Policy
from marl.data.layout import Values, leaves, mapped
from marl.data.normalizer import RunningStatistics
from marl.data.spaces import Part, Spaces, mask_sizes
from marl.networks.build_network import actor_critic, q_network
from marl.networks.contract import Decision
from marl.networks.sac_network import SACNetwork
from marl.networks.settings import NetworkSettings
from tests.extending.memory import MEMORY, TOTAL
from tests.extending.test_own_encoder import WIDE
from tests.extending.test_own_head import DEEP

Array = npt.NDArray[Any]
Run = Callable[[list[Array]], list[Array]]  # an exported file: outputs of inputs

FROM_TWO = Part((), "int32", (4,), (2,))
BOX = Part((2, 1), low=(0.0, -1.0), high=(4.0, float("inf")))
BOUNDED = Part((2,), low=(-2.0, -1.0), high=(2.0, 4.0))
PICTURE = Part((36, 36, 2), "uint8")
MASK, FIVE = (Part((size,), "int32", (2,) * size, (0,) * size, mask=True) for size in (4, 5))
TREE = {
    "a": Part((3,), "float64"),
    "b": Part((2,), "int32", (3, 5), (1, -2)),
    "c": (Part((2,)), Part((), "int32", (2000,), (0,)), Part((4,), "uint8")),
    "d": Part((7, 7, 3), "uint8"),
}
ACTIONS = {"x": BOUNDED, "y": Part((2,), "int8", (3, 2), (1, 0)), "z": Part((), "uint16", (4,), (0,))}


class Kind(NamedTuple):
    """What a policy sees, does and is made of."""

    observations: Any
    actions: Any = FROM_TWO
    settings: dict[str, Any] = {}  # noqa: RUF012  of the network
    build: Callable[..., Any] = actor_critic


KINDS = {
    "discrete": Kind(Part((6,))),
    "wide": Kind(Part((6,), "float64")),
    "box": Kind(Part((2, 3)), BOX),
    "beta": Kind(Part((3,)), BOUNDED, {"policy": "beta"}),
    "squashed": Kind(Part((3,)), BOUNDED, {"policy": "squashed"}),
    "state_gaussian": Kind(Part((3,)), BOX, {"policy": "state_gaussian"}),
    "layer_norm": Kind(Part((6,)), settings={"layer_norm": True, "activation": "relu"}),
    "nature": Kind(PICTURE, FROM_TWO, {"shared_trunk": True}),
    "dqn": Kind(PICTURE, settings={"encoder": "dqn", "layer_norm": True}),
    "impala": Kind(PICTURE, settings={"encoder": "impala"}),
    "small": Kind(Part((3, 7, 7), "uint8")),
    "tree": Kind(TREE, ACTIONS),
    "gru": Kind(Part((6,)), FROM_TWO, {"core": "gru"}),
    "lstm": Kind(Part((6,)), BOX, {"core": "lstm", "shared_trunk": True}),
    "pictures_gru": Kind(Part((3, 7, 7), "uint8"), settings={"core": "gru"}),
    "pictures_lstm": Kind(PICTURE, BOUNDED, {"encoder": "dqn", "core": "lstm", "shared_trunk": True}),
    "masked": Kind({"action_mask": MASK, "observation": Part((5,))}),
    "masked_tree": Kind({"action_mask": MASK, "other": Part((5,))}, (FROM_TWO, BOUNDED), {"core": "gru"}),
    "values": Kind(Part((6,)), build=lambda spaces, settings, seed: q_network(spaces, settings, seed, dueling=True)),
    "remembered_values": Kind(
        {"action_mask": MASK, "observation": Part((5,))},
        settings={"core": "lstm"},
        build=lambda spaces, settings, seed: q_network(spaces, settings, seed, dueling=True),
    ),
    "masked_numbers": Kind({"action_mask": FIVE, "observation": Part((5,))}, Part((2,), "int64", (3, 2), (1, 0))),
    "initial_state": Kind(Part((6,)), BOX, {"core": TOTAL}),
    "own_parts": Kind(Part((6,)), FROM_TWO, {"encoder": WIDE, "core": MEMORY, "head": DEEP}),
    "sac": Kind(Part((6,)), BOUNDED, build=SACNetwork),
    "sac_pictures": Kind(PICTURE, BOUNDED, {"encoder": "dqn"}, build=SACNetwork),
}


def policy_of(kind: str, info: dict[str, Any] | None = None) -> Policy:
    """Its weights are moved away from the start, where all actions are about equally likely."""
    observations, actions, settings, build = KINDS[kind]
    spaces = Spaces(observations, actions)
    network = build(spaces, NetworkSettings(**settings), 1)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    size, draw = spaces.measured_size, np.random.default_rng(0)
    statistics = RunningStatistics(50.0, draw.normal(size=size), draw.uniform(10, 200, size)) if size else None
    return Policy(network, spaces, statistics, info or {})


def demand_parity(policy: Policy, run: Run, most: float = 1e-5) -> None:
    """Three steps of one environment and of five: the same actions, parameters and memory as of ``Policy.act``."""
    draw = np.random.default_rng(5)
    said: list[Decision] = []
    step = policy.network.step
    policy.network.step = lambda *given: said.append(step(*given)) or said[-1]  # type: ignore[method-assign, func-returns-value]
    for rows in (1, 5):
        policy.reset()
        state = [each.numpy() for each in leaves(policy.network.initial_state(rows))]
        for _ in range(3):
            seen = observed(policy.spaces, rows, draw)
            actions = leaves(policy.act(seen))
            expected = [*actions, said[-1].parameters.numpy(), *(each.numpy() for each in leaves(said[-1].state))]
            found = run([*leaves(seen), *state])
            assert [(each.dtype, each.shape) for each in found] == [(each.dtype, each.shape) for each in expected]
            for one, other in zip(found, expected, strict=True):
                assert float(np.abs(one.astype(float) - other.astype(float)).max()) <= most
            state = found[len(found) - len(state) :] if state else []


def observed(spaces: Spaces, rows: int, draw: np.random.Generator) -> Values:
    """Observations as an environment shows them."""

    def numbers(part: Part) -> Array:
        shape = (rows, *part.shape)
        if part.categories:
            counted = np.stack([draw.integers(0, part.categories) + part.starts for _ in range(rows)])
            return counted.reshape(shape).astype(np.int64)
        if part.dtype == "uint8":
            return draw.integers(0, 256, shape).astype(np.uint8)
        return draw.normal(size=shape).astype(part.dtype)

    seen = mapped(numbers, spaces.observations)
    if spaces.mask is not None:  # of each number, one category at least is allowed
        sizes = np.array(mask_sizes(spaces.actions))
        allowed = np.cumsum(sizes) - sizes + draw.integers(0, sizes, (rows, len(sizes)))
        np.put_along_axis(seen[spaces.mask], allowed, 1, axis=1)
    return seen
