"""The shape of a run's trajectories as they travel from actors to the learner."""

from typing import cast

from torch import nn

from marl.acting.collect import Acts
from marl.config.settings import Config
from marl.data.layout import Layout, Tree, flat
from marl.data.requests import GROUPS, RequestLayout
from marl.data.rollout import rollout_tree
from marl.data.shared import memory_bytes
from marl.data.spaces import Spaces
from marl.exchanges.experience.child import PER_MESSAGE
from marl.exchanges.observations.child import PER_MESSAGE as REQUESTS_PER_MESSAGE


def experience_layout(config: Config, spaces: Spaces, network: nn.Module) -> Layout:
    """Of one worker's trajectory, or of one group's where only observations travel."""
    return Layout(experience_tree(config, spaces, network))


def experience_tree(config: Config, spaces: Spaces, network: nn.Module, *, priorities: bool = True) -> dict[str, Tree]:
    """The same trajectory's tree, with the ``priorities`` of its transitions or without."""
    count = config.environment.per_worker
    return rollout_tree(
        length=config.algorithm.t_max,
        environments=count // GROUPS if config.exchange.name == "observations" else count,
        observation=spaces.observation(normalized=config.environment.normalize_observations),
        action=spaces.action,
        num_parameters=cast(Acts, network).distribution.num_parameters,
        priorities=priorities,
    )


def experience_bytes(config: Config, spaces: Spaces, network: nn.Module) -> int:
    """The most that one upload of trajectories, of observations or an answer of actions takes; 0 where none travel."""
    if config.exchange.name == "observations":
        requests = request_layout(config, spaces)
        return REQUESTS_PER_MESSAGE * max(requests.num_bytes, memory_bytes({"actions": requests.actions}))
    if config.exchange.name != "experience":
        return 0
    return PER_MESSAGE * experience_layout(config, spaces, network).num_bytes


def request_layout(config: Config, spaces: Spaces) -> RequestLayout:
    """Where one group of a worker's environments writes what it answered; the parent normalises it."""
    return RequestLayout(
        environments=config.environment.per_worker // GROUPS,
        observation=flat(spaces.raw) if config.environment.normalize_observations else spaces.observation(),
        action=spaces.action,
    )
