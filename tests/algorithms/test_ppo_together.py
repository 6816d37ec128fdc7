"""What ppo adds up over all that learn together."""

import pytest
import torch
from torch import Tensor

from marl.algorithms.ppo import PPO
from tests.algorithms.cases import DISCRETE
from tests.algorithms.literal_ppo import NOW, network_for, played


@pytest.mark.parametrize(
    ("target", "kl_stop", "sums"),
    [("gae", 0.0, [(2, 4, 4)]), ("vtrace", 0.0, [(1, 4, 4)] * 2), ("td_lambda", 10.0, [(2, 4, 4), (2,)])],
)
def test_moments_of_all_epochs_are_one_sum_where_advantages_stay(
    target: str, kl_stop: float, sums: list[tuple[int, ...]]
) -> None:
    """As each sum may take a round trip. The minibatches are the same as without others."""
    asked = list[tuple[int, ...]]()

    def together(numbers: Tensor) -> Tensor:
        asked.append(tuple(numbers.shape))
        return 2 * numbers  # another has just the same

    network, algorithm = network_for(DISCRETE), PPO(epochs=2, num_minibatches=4, target=target, kl_stop=kl_stop)
    trajectory, shared, alone = played(DISCRETE, 2, network), torch.Generator(), torch.Generator()
    found = list(algorithm.minibatches(network, trajectory, NOW._replace(together=together, generator=shared)))
    plain = list(algorithm.minibatches(network, trajectory, NOW._replace(generator=alone)))
    assert asked == sums
    assert len(asked) == algorithm.sums_per_trajectory()
    assert len(found) == len(plain) == 8
    for ours, each in zip(found, plain, strict=True):
        assert torch.equal(ours.observations, each.observations)
        assert float(ours.advantages.mean()) == pytest.approx(0.0, abs=1e-5)
        assert float(each.advantages.mean()) != pytest.approx(0.0, abs=1e-5)
