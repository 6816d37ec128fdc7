"""What a run says about its environment."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EnvironmentSettings:
    """Which environment, how many of it, and how its numbers are brought to size."""

    id: str = "CartPole-v1"  # a gymnasium id, package.module:Id-v0, or package.module:factory
    kwargs: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the environment itself
    ignore: tuple[str, ...] = ()  # entries of Dict observations that nobody sees: ["mission"], ["robot/name"]
    # Where it is said which actions are allowed: "info", an entry of Dict observations, or "none"; "auto": the entry
    # "action_mask", where actions have categories.
    mask: str = "auto"
    per_worker: int = 16  # environments a worker plays at once; more is faster per step, and learns less from each
    backend: str = "gymnasium"  # or "envpool", where envpool is installed and offers the id
    normalize_observations: bool = False  # by running mean and deviation, shared by all workers, frozen in evaluation
    normalize_rewards: bool = (
        False  # by the running deviation of the discounted return, of all workers and children together
    )
    reward_clip: float | None = None  # the loss sees greater rewards, and losses, as this; none: as they are
    life_ends: bool = False  # a lost life ends an episode while training, not in evaluation; Atari games alone
    reward_scale: float = 1.0  # multiplies what the loss sees, never what is reported
    solved_return: float | None = None  # mean of the last 100 training episodes that counts as solved
