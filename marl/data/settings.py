"""What a run says about its replay."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplaySettings:
    """Learning again from what was played before; all workers of a node write to one replay and sample from it."""

    ratio: float | None = None  # how often each step is learned from, on average; none: what the algorithm is made for
    capacity: int = 100_000  # environment steps that are kept
    start: int = 1_000  # environment steps before anything is learned from samples
    batch_size: int = 128  # transitions of a sample; an algorithm that learns from trajectories samples one at a time
    alpha: float = 0.6  # how much a transition's priority matters, 0 (not at all) to 1 (in proportion)
    beta: float = 0.4  # how far unequal chances are made up for, 0 (not at all) to 1 (wholly)
