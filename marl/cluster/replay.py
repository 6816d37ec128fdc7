"""How large a run's replay and queue are, and whether this machine has room for them."""

from typing import cast

from torch import nn

from marl.acting.collect import Acts
from marl.cluster.experience import action_field, observation_field
from marl.config.settings import Config, replay_ratio
from marl.data.desk import GROUPS
from marl.data.parcel import Layout
from marl.data.priorities import priority_fields
from marl.data.replay import replay_fields
from marl.data.shared import Field, memory_bytes
from marl.data.spaces import Spaces
from marl.data.transitions import transition_fields
from marl.errors import ConfigError
from marl.exchanges.settings import LEARNER_EXCHANGES
from marl.processes.memory import free_bytes


def replay_memory(
    config: Config, spaces: Spaces, network: nn.Module, workers: int, *, learner: bool = False
) -> dict[str, Field]:
    """What a node's block, or the ``learner``'s, needs for the replay; nothing where there is none.

    Raises:
        ConfigError: it would be larger than the memory that is free, or smaller than a trajectory of each worker.
    """
    if not replay_ratio(config) or learner != (config.exchange.name in LEARNER_EXCHANGES):
        return {}
    observation = observation_field(spaces, normalized=config.environment.normalize_observations)
    environments, length, capacity = config.environment.per_worker, config.algorithm.t_max, config.replay.capacity
    if config.exchange.name == "observations":
        environments //= GROUPS
    if capacity < workers * environments * length:
        raise ConfigError(
            f"replay.capacity: expected room for a trajectory of each worker ({workers} workers x {environments} "
            f"environments x {length} steps = {workers * environments * length:,}), got {capacity:,}"
        )
    if config.algorithm.learns_from == "trajectories":
        fields = replay_fields(
            workers=workers,
            slots=capacity // (workers * environments * length),
            length=length,
            environments=environments,
            observation=observation,
            action=action_field(spaces),
            num_parameters=cast(Acts, network).distribution.num_parameters,
            max_last=environments,
        )
    else:
        capacity += -capacity % workers
        fields = transition_fields(
            capacity=capacity, workers=workers, observation=observation, action=action_field(spaces)
        )
        fields |= priority_fields(capacity)
    demand_room(memory_bytes(fields), f"replay.capacity = {config.replay.capacity:,}")
    return fields


def queue_places(config: Config, layout: Layout, children: int) -> int:
    """Trajectories that the learner's queue holds: one for each child at least, whatever it has in hand.

    Raises:
        ConfigError: they would need more memory than is free.
    """
    places = max(config.exchange.queue, children) + config.exchange.batch - 1
    demand_room(places * layout.num_bytes, f"exchange.queue = {config.exchange.queue:,}")
    return places


def demand_room(size: int, setting: str) -> None:
    """Refuse what would not fit into shared memory; ``setting`` decides how many bytes it takes.

    Raises:
        ConfigError: more than is free.
    """
    free = free_bytes()
    if free is not None and size > free:
        raise ConfigError(
            f"{setting} needs {size / 2**20:,.1f} MiB of memory, most of it shared, "
            f"{free / 2**20:,.1f} MiB are free: make it smaller (a container gets more by docker run --shm-size=1g)"
        )
