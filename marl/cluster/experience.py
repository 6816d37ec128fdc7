"""The shape of a run's trajectories as they travel from actors to the learner."""

from typing import cast

import torch
from torch import nn

from marl.acting.collect import Acts
from marl.config.settings import Config
from marl.data.desk import GROUPS, DeskLayout, desk_layout
from marl.data.parcel import Layout, parcel_layout
from marl.data.shared import Field, memory_bytes
from marl.data.spaces import Spaces
from marl.exchanges.experience.child import PER_MESSAGE
from marl.exchanges.observations.child import PER_MESSAGE as DESKS_PER_MESSAGE


def experience_layout(config: Config, spaces: Spaces, network: nn.Module) -> Layout:
    """Of one worker's trajectory, or of one group's where only observations travel."""
    count = config.environment.per_worker
    return parcel_layout(
        length=config.algorithm.t_max,
        environments=count // GROUPS if config.exchange.name == "observations" else count,
        observation=observation_field(spaces, normalized=config.environment.normalize_observations),
        action=action_field(spaces),
        num_actions=spaces.num_actions,
        num_parameters=cast(Acts, network).distribution.num_parameters,
    )


def experience_bytes(config: Config, spaces: Spaces, network: nn.Module) -> int:
    """The most that one upload of trajectories, of observations or an answer of actions takes; 0 where none travel."""
    if config.exchange.name == "observations":
        desks = desks_of(config, spaces)
        actions = memory_bytes({"actions": Field((desks.num_environments, *desks.action.shape), desks.action.dtype)})
        return DESKS_PER_MESSAGE * max(desks.num_bytes, actions)
    if config.exchange.name != "experience":
        return 0
    return PER_MESSAGE * experience_layout(config, spaces, network).num_bytes


def desks_of(config: Config, spaces: Spaces) -> DeskLayout:
    """Where one group of a worker's environments lays down what it answers; normalised by who decides."""
    dtype = spaces.raw_dtype if config.environment.normalize_observations else spaces.observation_dtype
    return desk_layout(
        environments=config.environment.per_worker // GROUPS,
        observation=Field((spaces.observation_size,), getattr(torch, dtype)),
        action=action_field(spaces),
    )


def observation_field(spaces: Spaces, *, normalized: bool = False) -> Field:
    """One observation, flat; pixels stay bytes, but not once they are normalised."""
    dtype = "float32" if normalized else spaces.observation_dtype
    return Field((spaces.observation_size,), getattr(torch, dtype))


def action_field(spaces: Spaces) -> Field:
    """One action, as the policy drew it."""
    return Field((), torch.int64) if spaces.discrete else Field((len(spaces.action_low),), torch.float32)
