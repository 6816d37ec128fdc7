import pytest
import torch

from marl.environments.settings import EnvironmentSettings
from marl.exchanges.observations.exchange import Observations
from marl.exchanges.run import RunSettings
from tests.plain_spaces import plain_spaces


@pytest.mark.parametrize(
    ("wide", "normalizes", "dtype"),
    [(True, True, torch.float64), (True, False, torch.float32), (False, True, torch.float32)],
)
def test_requests_hold_what_a_normaliser_needs(wide: bool, normalizes: bool, dtype: torch.dtype) -> None:
    """The parent normalises: where an observation has more digits than float32, they travel as they are."""
    spaces = plain_spaces((3,), num_actions=2, observation_dtype="float64" if wide else "float32")
    run = RunSettings(environment=EnvironmentSettings(normalize_observations=normalizes))
    layout = Observations().requests(run, spaces)
    assert layout.tree["observations"].dtype == layout.tree["last_observations"].dtype == dtype
