"""The shape of a run's trajectories as they travel from actors to the learner."""

from typing import cast

import torch
from torch import nn

from marl.acting.collect import Acts
from marl.config import Config
from marl.data.parcel import Layout, parcel_layout
from marl.data.shared import Field
from marl.data.spaces import Spaces
from marl.exchanges.experience_child import PER_MESSAGE


def experience_layout(config: Config, spaces: Spaces, network: nn.Module) -> Layout:
    """Of one worker's trajectory."""
    return parcel_layout(
        length=config.algorithm.t_max,
        environments=config.environment.per_worker,
        observation=observation_field(spaces),
        action=action_field(spaces),
        num_actions=spaces.num_actions,
        num_parameters=cast(Acts, network).distribution.num_parameters,
    )


def experience_bytes(config: Config, spaces: Spaces, network: nn.Module) -> int:
    """The most that one upload of trajectories takes; 0 where none travel."""
    if config.exchange.name != "experience":
        return 0
    return PER_MESSAGE * experience_layout(config, spaces, network).num_bytes


def observation_field(spaces: Spaces) -> Field:
    """One observation, as the network sees it."""
    return Field((spaces.observation_size,), torch.float32)


def action_field(spaces: Spaces) -> Field:
    """One action, as the policy drew it."""
    return Field((), torch.int64) if spaces.discrete else Field((len(spaces.action_low),), torch.float32)
