"""How large the body of a network is."""

import pytest
import torch

from marl.networks.settings import NetworkSettings
from marl.networks.torso import Torso, body_size
from tests.networks.encoders.test_pictures import TREE


@pytest.mark.parametrize("core", [None, "gru", "lstm"])
@pytest.mark.parametrize("encoder", [None, "mlp"])
def test_it_is_known_without_building_it(encoder: str | None, core: str | None) -> None:
    settings = NetworkSettings(encoder=encoder, core=core, core_size=12, hidden=(16,), layer_norm=core is None)
    torso = Torso(TREE, settings, 3, head_gain=1.0, generator=torch.Generator())
    size = body_size(TREE, settings)
    *tensors, weight, _ = torso.parameters()
    assert (size.numbers, size.tensors) == (sum(each.numel() for each in tensors), len(tensors))
    assert (size.features, size.inputs) == (weight.shape[1], 8 * 8 * 3 + 5)
