"""What a run says about its checkpoints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckpointSettings:
    """How often everything needed to go on is saved."""

    every_seconds: float = 30.0
    every_steps: int = 50_000  # in deterministic mode
