"""What acting produces and learning consumes."""

from typing import NamedTuple

from torch import Tensor


class Trajectory(NamedTuple):
    """T steps of B environments, time first."""

    observations: Tensor  # [T + 1, B, ...]  one more, for bootstrapping
    actions: Tensor  # [T, B] integers, or [T, B, A] as the policy drew them, before clipping to the box
    rewards: Tensor  # [T, B]
    terminated: Tensor  # [T, B]  the episode ended: no bootstrap
    truncated: Tensor  # [T, B]  the episode was cut: bootstrap from its true last observation
    valid: Tensor  # [T, B]  False on a reset step (next-step autoreset): in no loss
    last_observations: Tensor  # [K, ...]  the true final observation of each truncation that needs one
    last_index: Tensor  # [K]  where each belongs in the flattened [T * B]
    behaviour: Tensor  # [T, B, P]  distribution parameters of the policy that acted
    version: int  # the oldest weights that acted
