import numpy as np
import pytest
import torch

from marl.targets.double_q import double_q_targets


def test_one_network_chooses_and_the_other_gives_the_value() -> None:
    online, target = (
        torch.tensor([[1.0, 3.0], [5.0, 2.0], [0.0, 1.0]]),
        torch.tensor([[9.0, 4.0], [6.0, 8.0], [7.0, 7.0]]),
    )
    targets = double_q_targets(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.25, 0.0]), online, target)
    assert targets.tolist() == [1 + 0.5 * 4, 2 + 0.25 * 6, 3.0]


@pytest.mark.parametrize("seed", range(5))
def test_double_q_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    returns, discounts, (online, target) = rng.normal(size=7), rng.random(7), rng.normal(size=(2, 7, 4))
    ours = double_q_targets(*(torch.from_numpy(each) for each in (returns, discounts, online, target)))
    expected = [returns[i] + discounts[i] * target[i, online[i].argmax()] for i in range(7)]
    np.testing.assert_allclose(ours, expected, atol=1e-12)
