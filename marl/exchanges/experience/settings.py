"""What a run says about the queue of the learner, and how an upload names its trajectories."""

from dataclasses import dataclass

import torch

from marl.exchanges.part import SettingsPart, demand

PER_MESSAGE = 16  # trajectories at most


@dataclass(frozen=True)
class ExperienceSettings(SettingsPart):
    """How many trajectories wait for the learner, how old they may be, how they travel."""

    queue: int = 16  # experience: trajectories that may wait, at least one a child; more is steadier, and staler
    batch: int = 1  # experience: trajectories that the learner learns from at once
    # experience: older trajectories are dropped; in versions: each batch makes one. gradients that are asynchronous:
    # older gradients are dropped; each of them makes a version
    max_staleness: int = 32
    device: str = "auto"  # experience: the learner's device: "auto" is the first GPU, if any; else a name of torch
    zstd: bool = False  # experience: trajectories are packed (extra: zstd): fewer bytes, most of all with pictures

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        demand(usable(self.device), "exchange.device", "'auto', or a device that torch has here", self.device)


def usable(device: str) -> bool:
    """Whether a learner could use this device. It is not tried: a child has no learner, and may lack the device."""
    if device == "auto":
        return True
    try:
        return torch.device(device).type in ("cpu", "cuda", "mps", "xpu")
    except RuntimeError:
        return False


def trajectory_name(number: int) -> str:
    """Name of the upload's array for trajectory ``number``."""
    return f"trajectory{number}"


def packed_name(number: int) -> str:
    """Name used instead of ``trajectory_name``, if the trajectory is compressed."""
    return f"packed{number}"
