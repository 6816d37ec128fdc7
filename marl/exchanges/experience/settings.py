"""What a run says about the learner's queue."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart

PER_MESSAGE = 16  # trajectories at most


@dataclass(frozen=True)
class ExperienceSettings(SettingsPart):
    """How many trajectories wait for the learner, how old they may be, how they travel."""

    queue: int = 16  # experience: trajectories that may wait, at least one a child; more is steadier, and staler
    batch: int = 1  # experience: trajectories that the learner learns from at once
    max_staleness: int = 32  # experience: older trajectories are dropped; in versions, one for each batch learned from
    zstd: bool = False  # experience: trajectories are packed (extra: zstd): fewer bytes, most of all with pictures
