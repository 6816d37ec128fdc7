"""What every exchange is: settings, what goes with them, the worker's role, and two halves of a conversation."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, cast

from torch import Tensor, nn

from marl.algorithms.base import Algorithm
from marl.data.layout import Layout, Tree
from marl.data.normalizer import Moments
from marl.data.rollout import rollout_tree
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.environments.vector import Environments
from marl.errors import ConfigError
from marl.exchanges.child_reports import Hear, hear_all
from marl.exchanges.run import RunSettings
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import RunSide, Serving
from marl.networks.contract import Acts, state_tree
from marl.training.minibatches import MinibatchSource
from marl.training.reach import Reach
from marl.training.trajectory_queue import Published, TrajectoryQueue

MakeMinibatches = Callable[[Algorithm, nn.Module, Spaces], MinibatchSource]


class Worker(Protocol):
    """A worker process, as its exchange sees it."""

    run: RunSettings
    block: SharedBlock  # the node's memory
    number: int  # of this worker on its node

    def environments(self, count: int) -> Environments:
        """So many; closed when the process ends."""

    def seeds(self, count: int) -> list[int]:
        """Of so many environments."""

    def learn(self, minibatches: MakeMinibatches | None = None) -> None:
        """Play and learn until told to stop.

        Args:
            minibatches: what becomes of each trajectory; None: this worker learns from it, as the settings say.
        """


class LearnerMemory(NamedTuple):
    """Where a parent's half meets the learner."""

    trajectory_queue: TrajectoryQueue
    published: Published
    layout: Layout  # of a trajectory


class ChildFacts(NamedTuple):
    """What a child's half is made of."""

    block: SharedBlock  # the node's memory
    name: str
    normalizes: bool = False  # observations or rewards are
    deterministic: bool = False
    restarts: Callable[[], int] = lambda: 0  # how many workers had to be started again
    note: Callable[[str], None] = lambda text: None  # tells people here


class ParentFacts(NamedTuple):
    """What a parent's half is made of."""

    run: RunSettings
    spaces: Spaces
    weights: Tensor  # [N]  that the run starts from; overwritten later: to keep them is to copy them
    name: str
    children: int  # how many there are to be
    learner: LearnerMemory | None = None  # where the exchange has one
    observation_size: int = 0  # of the normaliser; 0: there is none
    statistics: Moments | None = None  # of the normaliser, of a run that goes on
    sample: Moments | None = None  # of observations that the parent has made itself: a measure of what children say
    reach: Reach | None = None  # of the run's learning: a measure of what they upload
    seen_beside: float = 0.0  # observations of each worker that an upload's steps do not count yet
    epoch: int = 0
    version: int = 0
    steps: int = 0  # environment steps so far
    hear: Hear = hear_all
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Exchange(ExchangeSettings, ABC):
    """A frozen dataclass of settings, and the one place that knows what they mean. A new one says its ``name`` and has
    two halves; the rest are defaults that fit workers which learn from what they play themselves.

    It travels to every process; what only a parent or only a child needs is imported where it is made.
    """

    learner: ClassVar[bool] = False  # children only play, and one process learns: at the parent, or on the one machine
    at_once: ClassVar[bool] = False  # no half ever waits for the other: within one process one thread does for both

    def rules(self, run: RunSettings) -> None:
        """Refuse what does not go with this exchange.

        Raises:
            ConfigError: ``run``, or a setting of its own.
        """

    def demand_same_bits(self) -> None:
        """Refuse to be used where children have to make the same bits each time.

        Raises:
            ConfigError: time decides something.
        """
        raise ConfigError(f"exchange.name: expected 'weights' with deterministic = true, got {self.name!r}")

    def demand_alone(self) -> None:
        """Refuse to be used on one machine alone.

        Raises:
            ConfigError: it makes no sense without children.
        """

    def rows(self, run: RunSettings) -> int:
        """Environments [B] of one trajectory."""
        return run.environment.per_worker

    def layout(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> Layout:
        """Of one trajectory, where trajectories travel or wait in a learner's queue."""
        return Layout(self.tree(run, spaces, network))

    def tree(self, run: RunSettings, spaces: Spaces, network: nn.Module, *, priorities: bool = True) -> dict[str, Tree]:
        """Of the same trajectory, with the ``priorities`` of its transitions or without."""
        return rollout_tree(
            length=run.algorithm.t_max,
            environments=self.rows(run),
            observation=spaces.observation(normalized=run.environment.normalize_observations),
            action=spaces.action,
            num_parameters=cast(Acts, network).distribution.num_parameters,
            priorities=priorities,
            state=state_tree(network),
        )

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        """What a node's shared memory holds for it, beside weights, counters and statistics."""
        return {}

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        """The most that one message carries beside weights, statistics and reports."""
        return 0

    def work(self, worker: Worker) -> None:
        """What a worker process does, until told to stop."""
        worker.learn()

    @abstractmethod
    def child(self, facts: ChildFacts) -> Serving:
        """A child's half, over its node's memory."""

    @abstractmethod
    def parent(self, facts: ParentFacts) -> RunSide:
        """The parent's half; one that has a learner is a ``LearningSide``."""
