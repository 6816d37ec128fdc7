import numpy as np
import pytest
import torch

from marl.algorithms.replayed import cut, parts, priorities_of
from marl.data.trajectory import Trajectory
from tests.algorithms.cases import BOX, DISCRETE, in_parts, joined, random_batch


def with_resets(batch: Trajectory) -> Trajectory:
    """As with next-step autoreset: the step after an end is a reset, and ends nothing."""
    valid, terminated, truncated = torch.ones_like(batch.valid), batch.terminated.clone(), batch.truncated.clone()
    for t in range(1, len(valid)):
        valid[t] = ~(terminated | truncated)[t - 1]
        terminated[t] &= valid[t]
        truncated[t] &= valid[t]
    return batch._replace(
        valid=valid, terminated=terminated, truncated=truncated, last_index=torch.zeros(0, dtype=torch.long),
        last_observations=torch.zeros(0, 4), version=7,
    )  # fmt: skip


def within_step(batch: Trajectory) -> Trajectory:
    """As with same-step autoreset: every step counts, and each cut episode's last observation is given apart."""
    index = np.flatnonzero(batch.truncated & ~batch.terminated)
    return batch._replace(
        valid=torch.ones_like(batch.valid),
        last_index=torch.from_numpy(index),
        last_observations=100.0 + torch.arange(len(index) * 4.0).view(-1, 4),
    )


@pytest.mark.parametrize("resets", [with_resets, within_step])
def test_observations_may_have_parts(resets) -> None:
    batch = resets(random_batch(DISCRETE, 1, T=9, B=2))
    whole, split = cut(batch, discount=0.9, n=3), cut(in_parts(batch), discount=0.9, n=3)
    for name in ("observations", "next_observations"):
        assert torch.equal(joined(getattr(split, name)), getattr(whole, name))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("resets", [with_resets, within_step])
@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_every_step_becomes_a_transition(spaces, resets, n: int, seed: int) -> None:
    batch = resets(random_batch(spaces, seed, T=9, B=2))
    ours = cut(batch, discount=0.9, n=n)
    true_last = dict(zip(batch.last_index.tolist(), batch.last_observations, strict=True))
    row = 0
    for t in range(9):
        for b in range(2):
            if not batch.valid[t, b]:
                continue
            total, k = batch.rewards[t, b].item(), t
            while k + 1 < min(t + n, 9) and not (batch.terminated[k, b] or batch.truncated[k, b]):
                k += 1
                total += 0.9 ** (k - t) * batch.rewards[k, b].item()
            following = true_last.get(k * 2 + b, batch.observations[k + 1, b])
            assert torch.equal(ours.observations[row], batch.observations[t, b])
            assert torch.equal(ours.actions[row], batch.actions[t, b])
            assert ours.returns[row].item() == pytest.approx(total, abs=1e-5)
            discount = 0.0 if batch.terminated[k, b] else 0.9 ** (k - t + 1)
            assert ours.discounts[row].item() == pytest.approx(discount)
            if discount:
                assert torch.equal(ours.next_observations[row], following)
            row += 1
    assert [len(each) for each in ours] == [row] * 6
    assert (ours.versions == batch.version).all()


def test_a_transition_with_nothing_to_teach_keeps_a_chance() -> None:
    priorities = priorities_of(torch.tensor([0.0, -2.0, float("nan"), float("inf")]))
    assert 0 < priorities[0] < 1e-5
    assert priorities[1].item() == pytest.approx(2.0)
    assert priorities[2:].tolist() == [0.0, 0.0]  # there is nothing to learn from those


def test_followed_and_targets_are_equally_long() -> None:
    followed, targets = parts(torch.arange(8.0), 5)
    assert (followed.tolist(), targets.tolist()) == ([0, 1, 2], [5, 6, 7])
