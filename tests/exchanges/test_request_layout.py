import pytest
import torch

from marl.data.spaces import Spaces
from marl.environments.settings import EnvironmentSettings
from marl.exchanges.observations.exchange import Observations
from marl.exchanges.run import RunSettings


@pytest.mark.parametrize(
    ("wide", "normalizes", "dtype"),
    [(True, True, torch.float64), (True, False, torch.float32), (False, True, torch.float32)],
)
def test_requests_hold_what_a_normaliser_needs(wide: bool, normalizes: bool, dtype: torch.dtype) -> None:
    """The parent normalises: where an observation has more digits than float32, they travel as they are."""
    spaces = Spaces((3,), 2, (), 0, (), (), observation_wide=wide)
    run = RunSettings(environment=EnvironmentSettings(normalize_observations=normalizes))
    layout = Observations().requests(run, spaces)
    assert layout.tree["observations"].dtype == layout.tree["last_observations"].dtype == dtype
