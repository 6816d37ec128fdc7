"""Where episodes begin within a trajectory, for what a network remembers."""

import torch

from marl.data.trajectory import resets_of
from tests.data.writers import trajectory

NO, YES = False, True


def flags(*steps: bool) -> torch.Tensor:
    return torch.tensor(steps).unsqueeze(-1)


def test_the_next_observation_begins_where_it_is_of_another_episode() -> None:
    """Environments that reset within the step: an end at 1 and at the last step, of which nobody needs to know."""
    played = trajectory(1)._replace(
        terminated=flags(NO, YES, NO, NO), truncated=flags(NO, NO, NO, YES), valid=flags(YES, YES, YES, YES),
        state=torch.zeros(1, 2),
    )  # fmt: skip
    assert resets_of(played).flatten().tolist() == [NO, NO, YES, NO, NO]


def test_a_reset_of_its_own_still_sees_the_last_observation() -> None:
    """Ends at 0 and at the last step, whose last observations are worth what was remembered; a reset at 1."""
    played = trajectory(1)._replace(
        terminated=flags(NO, NO, NO, YES), truncated=flags(YES, NO, NO, NO), valid=flags(YES, NO, YES, YES),
        state=torch.zeros(1, 2),
    )  # fmt: skip
    assert resets_of(played).flatten().tolist() == [NO, NO, YES, NO, NO]
    played = played._replace(valid=flags(YES, NO, YES, NO))
    assert resets_of(played).flatten().tolist() == [NO, NO, YES, NO, YES]


def test_where_nothing_is_remembered_nothing_is_forgotten() -> None:
    assert resets_of(trajectory(1)) is None
