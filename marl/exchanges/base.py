"""The base class of exchanges: settings and their rules, the work of a worker, a child's side and the parent's side."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, cast

from torch import Tensor, nn

from marl.algorithms.base import Algorithm
from marl.averaging.reach import Reach
from marl.data.layout import Layout, Tree
from marl.data.node.trajectory_queue import Published, TrajectoryQueue
from marl.data.normalizer import RunningStatistics
from marl.data.replay.rollout import rollout_tree
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.environments.vector import Environments
from marl.errors import ConfigError
from marl.exchanges.child_reports import Hear, hear_all
from marl.exchanges.run import RunSettings
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import RunSide, Serving
from marl.exchanges.virtual_time import RoundTimer
from marl.networks.contract import Acts, state_tree
from marl.training.busy_time import BusyTime
from marl.training.flat import Flat
from marl.training.hogwild import LearnedWeights
from marl.training.minibatches import MinibatchSource

MakeMinibatches = Callable[[Algorithm, nn.Module, Spaces], MinibatchSource]
MakeWeights = Callable[[Flat], LearnedWeights]


class Worker(Protocol):
    """A worker process, as its exchange sees it."""

    run: RunSettings
    block: SharedBlock  # the node's memory
    number: int  # of this worker on its node
    alone: bool  # there is no parent
    own_minibatches: MakeMinibatches  # makes what it learns from, where its exchange has nothing else
    busy: BusyTime | None  # counts its part of virtual time, where somebody asks for that

    def environments(self, count: int) -> Environments:
        """Make ``count`` environments; they are closed when the process ends."""

    def seeds(self, count: int) -> list[int]:
        """Seeds for ``count`` environments."""

    def learn(
        self,
        *,
        minibatches: MakeMinibatches | None = None,
        weights: MakeWeights | None = None,
        rest: Callable[[], int | None] = lambda: None,
        updates: int = 0,
    ) -> None:
        """Play and learn until told to stop.

        Args:
            minibatches: makes the object that gets each trajectory; None: this worker trains on it itself.
            weights: gets the network's own weights and gradient. Makes the object that takes each loss and gives the
                network its weights. None: every worker makes steps of the shared optimizer on the node's weights.
            rest: called before each trajectory, where there is a parent. Returns when the worker may play on: with the
                number of the checkpoint interval that begins, which environments are reset for; or None.
            updates: the most of a trajectory; not 0: ``rest`` is called between them too, where it returns None, and
                each counts as many of the trajectory's steps.
        """


class LearnerPlan(NamedTuple):
    """How the learner of an exchange learns from what arrives."""

    queue: int  # trajectories that may wait for it
    batch: int  # trajectories that it trains on at once
    max_staleness: int  # older trajectories are dropped; in versions
    device: str  # "auto", or a name of torch

    def places(self, children: int) -> int:
        """Length of the queue: at least one trajectory per child, beside the batch that the learner works on."""
        return max(self.queue, children) + self.batch - 1


class LearnerMemory(NamedTuple):
    """The memory that the parent's side shares with the learner."""

    trajectory_queue: TrajectoryQueue
    published: Published
    layout: Layout  # of a trajectory


class ChildFacts(NamedTuple):
    """What a child's side is made of."""

    block: SharedBlock  # the node's memory
    name: str
    run: RunSettings
    spaces: Spaces
    normalizes: bool = False  # whether observations or rewards are normalised
    deterministic: bool = False
    virtual: bool = False  # virtual time is counted
    restarts: Callable[[], int] = lambda: 0  # how many times workers were restarted
    note: Callable[[str], None] = lambda text: None  # shows a line to the user of this machine


class ParentFacts(NamedTuple):
    """What the parent's side is made of."""

    run: RunSettings
    spaces: Spaces
    weights: Tensor  # [N]  the initial weights; overwritten later, so copy what must be kept
    num_parameters: int  # the first P of them, which gradients move
    name: str
    children: int  # how many the run should have
    learner: LearnerMemory | None = None  # where the exchange has one
    observation_size: int = 0  # of the normaliser; 0: there is none
    statistics: RunningStatistics | None = None  # of the normaliser, in a resumed run
    sample: RunningStatistics | None = None  # of the parent's own observations, to check those of children
    reach: Reach | None = None  # how far learning moves the weights, to check uploads
    seen_beside: float = 0.0  # observations per worker that an upload may contain before it counts their steps
    term: int = 0
    version: int = 0
    steps: int = 0  # environment steps so far
    interval: int = 1  # in deterministic mode: environment steps between two checkpoints
    last_step: int | None = None  # environment steps after which the run ends
    hear: Hear = hear_all
    timer: RoundTimer | None = None  # counts virtual time
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Exchange(ExchangeSettings, ABC):
    """The settings of one exchange, as a frozen dataclass. Only this class knows what they mean. A new exchange needs a
    ``name`` and two sides. The other methods have defaults, for workers that learn from what they play themselves.

    An exchange is sent to every process. So import the two sides inside ``child`` and ``parent``.
    """

    learner: ClassVar[bool] = False  # players only play; one process learns, at the parent or on the only machine
    is_open: ClassVar[bool] = False  # stands for another one, which is chosen when the children are known
    averages: ClassVar[bool] = False  # children upload weights in rounds, of which the parent makes the mean
    at_once: ClassVar[bool] = False  # neither side waits for the other, so one thread can run both

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        if not self.averages:
            self.demand_own()

    def rules(self, run: RunSettings) -> None:
        """Refuse settings that do not go with this exchange.

        Raises:
            ConfigError: a setting of ``run``, or of this exchange, does not go with it.
        """

    def demand_same_bits(self) -> None:
        """Refuse a deterministic run on children.

        Raises:
            ConfigError: the result depends on time.
        """
        raise ConfigError(
            f"exchange.name: expected 'weights' or 'gradients' with deterministic = true, got {self.name!r}"
        )

    def demand_alone(self) -> None:
        """Refuse to be used on one machine alone.

        Raises:
            ConfigError: this exchange makes no sense without children.
        """

    def demand_rounds(self) -> None:
        """Refuse to be timed in virtual time on children.

        Raises:
            ConfigError: this exchange has no rounds that can be timed.
        """
        raise ConfigError(
            "clock.virtual = true times rounds: use exchange.name = 'weights', 'pairwise', 'gradients' or "
            f"'experience', not {self.name!r}"
        )

    def demand_packages(self) -> None:
        """Refuse settings that need an optional package, if it is missing here. Parent and child both ask.

        Raises:
            MissingExtra: it is not installed.
        """

    def codecs(self) -> tuple[str, ...]:
        """The codecs of weights that may be used: each child must know one."""
        return ("float32",)

    def learner_plan(self) -> LearnerPlan:
        """How the learner learns; called only if the exchange has a learner."""
        return LearnerPlan(self.queue, self.batch, self.max_staleness, self.device)

    def rows(self, run: RunSettings) -> int:
        """Environments [B] of one trajectory."""
        return run.environment.per_worker

    def layout(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> Layout:
        """The layout of one trajectory on a link or in a learner's queue."""
        return Layout(self.tree(run, spaces, network))

    def tree(self, run: RunSettings, spaces: Spaces, network: nn.Module, *, priorities: bool = True) -> dict[str, Tree]:
        """The fields of ``layout``, with or without the ``priorities`` of the transitions."""
        return rollout_tree(
            length=run.algorithm.t_max + run.algorithm.overlap(),
            environments=self.rows(run),
            observation=spaces.observation(normalized=run.environment.normalize_observations),
            action=spaces.action,
            num_parameters=cast(Acts, network).distribution.num_parameters,
            priorities=priorities,
            state=state_tree(network),
        )

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        """Fields of a node's shared memory for this exchange, beside weights, counters and statistics."""
        return {}

    def payload(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> Layout | None:
        """The layout of the bytes that a message carries besides weights, statistics and reports; None: there are no
        such bytes. Parent and child compare this layout in the handshake.
        """
        return None

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        """The largest number of bytes that one message carries besides weights, statistics and reports."""
        return 0

    def work(self, worker: Worker) -> None:
        """What a worker process does, until told to stop."""
        worker.learn()

    @abstractmethod
    def child(self, facts: ChildFacts) -> Serving:
        """A child's side, over its node's memory."""

    @abstractmethod
    def parent(self, facts: ParentFacts) -> RunSide:
        """The parent's side; with a learner it is a ``LearningSide``."""
