"""What every algorithm is: a network to build, batches to learn from, and a loss to minimise."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from marl.data.replay.transitions import Rows, Sampled
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.errors import ConfigError, PluginError
from marl.networks.distributions import ActionRule
from marl.networks.sampling import OnPolicy, Rank, Sampler
from marl.networks.settings import NetworkSettings

USUAL_LAG = 10_000.0  # updates between two copies of a network, where copies are rare
SCHEDULES = ("constant", "linear", "cosine", "auto")
LEARNS_FROM = ("trajectories", "transitions")
SCHEDULE_NAMES = "'constant', 'linear', 'cosine' or 'auto'"


class Loss(NamedTuple):
    """A scalar to minimise, and numbers for people."""

    total: Tensor  # what counts is its gradient
    metrics: Mapping[str, Tensor]
    priorities: Tensor | None = None  # [N]  how much each transition had to teach, where that decides what comes next
    by_hand: "ByHand | None" = None

    def backward(self) -> None:
        """Add the gradient to that of the parameters."""
        if self.by_hand is not None and self.by_hand.total is self.total:
            self.by_hand.backward()
        else:
            self.total.backward()  # type: ignore[no-untyped-call]


class ByHand(NamedTuple):
    """A shorter way to the gradient of a total."""

    total: Tensor  # a loss that is computed from this one has its gradient by autograd
    backward: Callable[[], None]  # what ``total.backward`` does


class Moment(NamedTuple):
    """When in a run something is learned, and with whose random numbers."""

    progress: float  # 0 to 1: how much of the schedule is done
    generator: torch.Generator
    # Adds up numbers, float64 of any shape, over all that learn together from parts of each minibatch, and call it
    # equally often; None: nobody else has a part.
    together: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Algorithm(ABC):
    """A frozen dataclass of numbers, used so::

        network = algorithm.build_network(spaces, settings, seed)
        for batch in algorithm.minibatches(network, collect(), moment):
            hogwild_step(..., algorithm.loss(network, batch))

    A new one says its ``name``, builds a network, and has a loss; the rest are defaults that fit a trajectory that is
    used once, whole. One that learns from single transitions, drawn from a replay, also says what they are.
    """

    learns_from: ClassVar[str] = "trajectories"  # or "transitions"
    exchange: ClassVar[str] = "weights"  # where the run does not say which: see ``marl/exchanges``
    replay_ratio: ClassVar[float] = 0.0  # where the run does not say how often a step is learned from again
    takes_state: ClassVar[bool] = False  # its loss unrolls a network that remembers, from the trajectory's own state

    name: str = ""
    t_max: int = 5  # steps between updates; more gives better returns and staler policies (5 to 128)
    discount: float = 0.99  # worth of a reward one step later; longer tasks want more (.98 to .999)
    learning_rate: float = 1e-3  # of the shared optimizer (1e-4 to 5e-3)
    final_learning_rate: float = 0.0  # where a schedule ends
    schedule: str = "constant"  # or "linear", "cosine"; "auto": linear where the schedule has a length
    schedule_steps: int = 0  # environment steps of the schedule
    schedule_minutes: float = 0.0  # of training; both 0: until stop.steps or stop.minutes
    max_gradient_norm: float = 0.5  # longer gradients are cut to this length (.5 to 40)

    @property
    def from_transitions(self) -> bool:
        """Whether it learns from single transitions of a replay, else from whole trajectories."""
        return self.learns_from == "transitions"

    @abstractmethod
    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        """A network that fits the spaces."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> Loss:
        """The loss of one of ``minibatches``."""

    def minibatches(self, unused_network: nn.Module, trajectory: Trajectory, unused_moment: Moment) -> Iterator[Any]:
        """The batches that one trajectory is learned from; the network has moved on when the next is asked for."""
        yield trajectory

    def batches_per_trajectory(self) -> float:
        """The most of ``minibatches``; infinite where that is not known. A parent bounds with it what a child may say
        that it has learned.
        """
        return 1.0 if type(self).minibatches is Algorithm.minibatches else math.inf

    def batches_from(self, unused_network: nn.Module, unused_environments: int) -> float:
        """How many minibatches a trajectory of this number of environments gives."""
        return self.batches_per_trajectory()

    def sums_per_trajectory(self) -> int:
        """How often ``minibatches`` calls ``Moment.together`` for each trajectory."""
        return 0

    def count(self, batch: Any) -> float:
        """How many transitions the loss of a batch is a mean of: its part where several learn together."""
        if isinstance(batch, Sampled):
            return float(len(batch.weights))
        valid = getattr(batch, "valid", None)
        return 1.0 if valid is None else float(valid.sum())

    def remark(self, unused_network: nn.Module, unused_environments: int) -> str | None:
        """One line for the user at the start of a run, where learning differs from what a setting says; else None.

        Args:
            unused_environments: environments of the trajectories that are learned from at once.
        """
        return None

    def transitions(self, network: nn.Module, trajectory: Trajectory) -> tuple[Rows, Tensor]:
        """What a replay keeps of a trajectory, and the first priority [N] of each row, as its actor sees it:
        transitions, or sequences where the network remembers.

        Raises:
            PluginError: it learns from whole trajectories, or lacks this method.
        """
        raise PluginError(f"{self.name} lacks transitions: see marl.algorithms.base.Algorithm")

    def overlap(self) -> int:
        """Steps of each trajectory that the one before has, too: they warm what a network remembers."""
        return 0

    def recurrent_settings(self) -> dict[str, int]:
        """The values of settings that do something only where the network remembers, by their names; none that is 0."""
        return {}

    def for_worker(self, unused_rank: Rank) -> "Algorithm":
        """The same algorithm for one of all workers: exploration may differ from one to the next."""
        return self

    def sampler(self, distribution: ActionRule) -> Sampler:
        """How a worker acts."""
        return OnPolicy(distribution)

    def settle(self, weights: Tensor, num_parameters: int, updates: int) -> None:  # noqa: B027 (most have none)
        """Move what no gradient moves, after each update: target networks, behind the parameters in ``weights``.

        Args:
            updates: how many this worker has made.
        """

    def lag(self) -> float:
        """Updates by which what ``settle`` moves may be behind, for the same bound."""
        return 0.0 if type(self).settle is Algorithm.settle else USUAL_LAG

    def off_policy(self) -> "Algorithm":
        """The same algorithm for what older weights have played; one that learns from transitions always does.

        Raises:
            ConfigError: it cannot learn from those.
        """
        if self.from_transitions:
            return self
        raise ConfigError(f"{self.name} learns only from what its newest weights play")

    def nearly_on_policy(self) -> "Algorithm":
        """The same algorithm for what weights have played that are a round or two older, where it has a better way
        than ``off_policy`` for those.
        """
        return self

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate when ``progress`` (0 to 1) of the schedule is done."""
        return scheduled(self.schedule, self.learning_rate, self.final_learning_rate, progress)

    def validate(self) -> None:
        """Refuse numbers that can never work.

        Raises:
            ConfigError: there is one.
        """
        demand(self.t_max >= 1, "t_max", "at least 1", self.t_max)
        demand(0 <= self.discount <= 1, "discount", "0 to 1", self.discount)
        demand(0 < self.learning_rate < math.inf, "learning_rate", "more than 0 and finite", self.learning_rate)
        demand(self.max_gradient_norm > 0, "max_gradient_norm", "more than 0", self.max_gradient_norm)
        demand(self.schedule in SCHEDULES, "schedule", SCHEDULE_NAMES, self.schedule)


def demand_learns_from(algorithm: Algorithm) -> None:
    """Refuse an algorithm that cannot say what it learns from.

    Raises:
        PluginError: it cannot.
    """
    if algorithm.learns_from not in LEARNS_FROM:
        raise PluginError(
            f"{algorithm.name}: expected learns_from to be {' or '.join(LEARNS_FROM)}, got {algorithm.learns_from!r}"
        )
    if algorithm.from_transitions and type(algorithm).transitions is Algorithm.transitions:
        raise PluginError(f"{algorithm.name} lacks transitions: see marl.algorithms.base.Algorithm")


def demand_stateless(algorithm: Algorithm, remembers: str) -> None:
    """Refuse what ``remembers`` where an algorithm does not unroll networks.

    Raises:
        ConfigError: it does not.
    """
    if not algorithm.takes_state:
        raise ConfigError(
            f"{remembers} remembers earlier steps, and {algorithm.name} learns from each step alone: "
            "leave it out, or use a3c, ppo or impala (or apex_dqn, where an action is one category)"
        )


def demand_recurrent(algorithm: Algorithm, network: str, remedy: str) -> None:
    """Refuse settings that would do nothing, for a ``network`` that remembers nothing.

    Raises:
        ConfigError: there is one.
    """
    for name, value in algorithm.recurrent_settings().items():
        raise ConfigError(
            f"algorithm.{name} = {value} is for a network that remembers, and {network} remembers nothing: {remedy}"
        )


def demand_off_policy(algorithm: Algorithm, setting: str, remedy: str) -> None:
    """Refuse a setting by which other weights act than those that learn, where an algorithm cannot bear that.

    Raises:
        ConfigError: it cannot.
    """
    try:
        algorithm.off_policy()
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}: {remedy}, or another algorithm") from error


def schedules(algorithm: Algorithm) -> dict[str, str]:
    """The shape of each number of an algorithm that may follow the run's progress, by the name of its setting."""
    found = {each.name: getattr(algorithm, each.name) for each in fields(algorithm)}
    return {name: shape for name, shape in found.items() if name == "schedule" or name.endswith("_schedule")}


def scheduled(schedule: str, first: float, last: float, progress: float) -> float:
    """A number that goes from ``first`` to ``last`` while progress goes from 0 to 1; without a length it stays 0."""
    if schedule == "constant":
        return first
    remaining = 1.0 - min(max(progress, 0.0), 1.0)
    if schedule == "cosine":
        remaining = 0.5 - 0.5 * math.cos(remaining * math.pi)
    return last + (first - last) * remaining


def demand(holds: bool, key: str, expected: str, got: object) -> None:
    """Refuse a number.

    Raises:
        ConfigError: it does not hold.
    """
    if not holds:
        raise ConfigError(f"algorithm.{key}: expected {expected}, got {got!r}")
