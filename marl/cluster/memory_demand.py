"""How large a run's replay and queue are, and whether this machine has room for them."""

from torch import nn

from marl.config.settings import Config
from marl.data.layout import Layout, Tree, is_empty
from marl.data.replay.priorities import priority_fields
from marl.data.replay.trajectory_replay import replay_fields
from marl.data.replay.transitions import sequence_fields, transition_fields
from marl.data.shared import memory_bytes
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.exchanges.run import replay_ratio
from marl.networks.contract import state_tree
from marl.processes.memory import free_bytes


def replay_memory(
    config: Config, spaces: Spaces, network: nn.Module, workers: int, *, learner: bool = False
) -> dict[str, Tree]:
    """The fields of a node's block, or of the ``learner``'s, for the replay; none if there is no replay.

    Raises:
        ConfigError: it would be larger than the memory that is free, or smaller than a trajectory of each worker.
    """
    if not replay_ratio(config) or learner != config.exchange.learner:
        return {}
    rollout = config.exchange.tree(config, spaces, network, priorities=False)
    environments, length, capacity = config.exchange.rows(config), config.algorithm.t_max, config.replay.capacity
    if capacity < workers * environments * length:
        raise ConfigError(
            f"replay.capacity: expected room for a trajectory of each worker ({workers} workers x {environments} "
            f"environments x {length} steps = {workers * environments * length:,}), got {capacity:,}"
        )
    if not config.algorithm.from_transitions:
        slots = capacity // (workers * environments * length)
        fields = replay_fields(rollout, workers=workers, slots=slots)
    else:
        fields = _prioritized(config, spaces, network, workers)
    demand_room(memory_bytes(fields), f"replay.capacity = {config.replay.capacity:,}")
    return fields


def _prioritized(config: Config, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
    """Transitions and their priorities; sequences where the network remembers."""
    row = {
        "observation": spaces.observation(normalized=config.environment.normalize_observations),
        "action": spaces.action,
    }
    state, algorithm = state_tree(network), config.algorithm
    capacity = config.replay.capacity if is_empty(state) else -(-config.replay.capacity // algorithm.t_max)
    capacity += -capacity % workers
    if is_empty(state):
        fields = transition_fields(capacity=capacity, workers=workers, **row)
    else:
        length = algorithm.t_max + algorithm.overlap()
        fields = sequence_fields(capacity=capacity, workers=workers, length=length, state=state, **row)
    return fields | priority_fields(capacity)


def queue_places(config: Config, layout: Layout, children: int) -> int:
    """Length of the learner's queue: at least one trajectory per child, beside the batch that the learner works on.

    Raises:
        ConfigError: they would need more memory than is free.
    """
    plan = config.exchange.learner_plan()
    places = plan.places(children)
    demand_room(places * layout.num_bytes, f"exchange.queue = {plan.queue:,}")
    return places


def demand_room(size: int, setting: str) -> None:
    """Refuse ``size`` bytes if they do not fit into shared memory; the message names the ``setting`` that needs them.

    Raises:
        ConfigError: more than is free.
    """
    free = free_bytes()
    if free is not None and size > free:
        raise ConfigError(
            f"{setting} needs {size / 2**20:,.1f} MiB of memory, most of it shared, "
            f"{free / 2**20:,.1f} MiB are free: make it smaller (a container gets more by docker run --shm-size=1g)"
        )
