"""What a step to something new is worth, against a plain count."""

from collections import Counter

import numpy as np
import pytest
import torch

from marl.acting.novelty import Novelty
from marl.data.spaces import Part, Spaces
from marl.data.trajectory import Trajectory
from tests.algorithms.cases import DISCRETE, in_parts, random_batch
from tests.plain_spaces import plain_spaces

ACTIONS = Part((), "int64", (3,), (0,))


def novelty(spaces: Spaces, scale: float = 0.5, seed: int = 0) -> Novelty:
    return Novelty(spaces, scale, np.random.SeedSequence(seed))


def bonus(found: Novelty, batch: Trajectory) -> torch.Tensor:
    """What is added to rewards of 0 [T, B]."""
    batch = batch._replace(rewards=torch.zeros_like(batch.rewards))
    found.add(batch)
    return batch.rewards


def of_categories(seed: int, categories: int) -> Trajectory:
    generator = torch.Generator().manual_seed(seed)
    batch = random_batch(DISCRETE, seed)
    T, B = batch.rewards.shape
    return batch._replace(observations=torch.randint(categories, (T + 1, B, 1), generator=generator, dtype=torch.int32))


def test_is_the_inverse_root_of_how_often_each_category_came() -> None:
    spaces = Spaces(Part((), "int32", (6,), (0,)), ACTIONS)
    found, seen = novelty(spaces), Counter[int]()
    for seed in range(4):
        batch = of_categories(seed, 6)
        made = bonus(found, batch)
        reached = batch.observations[1:, :, 0]
        seen.update(reached.flatten().tolist())
        for place, value in np.ndenumerate(made.numpy()):
            ends = batch.terminated[place] or batch.truncated[place] or not batch.valid[place]
            expected = 0.0 if ends else 0.5 / seen[int(reached[place])] ** 0.5
            assert value == pytest.approx(expected)


def test_adds_to_what_was_earned() -> None:
    batch, spaces = of_categories(1, 3), Spaces(Part((), "int32", (3,), (0,)), ACTIONS)
    earned = batch.rewards.clone()
    expected = earned + bonus(novelty(spaces), batch)
    novelty(spaces).add(batch)
    assert torch.equal(batch.rewards, expected)


@pytest.mark.parametrize(
    "part", [Part((2, 3)), Part((2, 3), "int32", (4,) * 6, (0,) * 6), Part((2, 3, 1), "uint8")],
    ids=["measured", "categories", "pixels"],
)  # fmt: skip
def test_tells_apart_what_differs(part: Part) -> None:
    """Of 21 observations that all differ hardly any two share a cell; the same ones again do."""
    batch = random_batch(DISCRETE, 0)._replace(
        terminated=torch.zeros(7, 3, dtype=torch.bool),
        truncated=torch.zeros(7, 3, dtype=torch.bool),
        valid=torch.ones(7, 3, dtype=torch.bool),
    )
    numbers = torch.arange(8 * 3).reshape(8, 3, 1) // torch.tensor([1, 4, 16, 64, 256, 1024]) % 4
    seen = torch.randn(8, 3, 6, generator=torch.Generator().manual_seed(1)) if part.is_measured else numbers
    batch = batch._replace(observations=seen.to(getattr(torch, part.dtype)))
    found = novelty(Spaces(part, ACTIONS), scale=1.0)
    first, second = bonus(found, batch), bonus(found, batch)
    assert (first == 1.0).float().mean() > 0.8
    assert torch.allclose(second, first / 2**0.5) or (second < 0.75).all()


def test_what_is_near_is_mostly_the_same() -> None:
    found, batch = novelty(plain_spaces((4,), num_actions=3), 1.0), random_batch(DISCRETE, 3)
    first = bonus(found, batch)
    near = bonus(found, batch._replace(observations=batch.observations + 1e-4))
    counted = first > 0
    assert (near[counted] < first[counted]).float().mean() > 0.9


def test_a_tree_counts_all_its_parts() -> None:
    seen = Spaces({"first": Part((1,)), "others": (Part((3,)),)}, ACTIONS)
    batch = in_parts(random_batch(DISCRETE, 0))
    found = novelty(seen, 1.0)
    bonus(found, batch)
    other = {"first": batch.observations["first"] + 5.0, "others": batch.observations["others"]}
    counted = bonus(found, batch._replace(observations=other))
    assert counted.max() == 1.0  # new, although one part is known


def test_forgets_at_a_reset_and_is_the_same_for_a_seed() -> None:
    spaces, batch = plain_spaces((4,), num_actions=3), random_batch(DISCRETE, 0)
    found = novelty(spaces)
    first = bonus(found, batch)
    assert not torch.equal(bonus(found, batch), first)
    found.reset()
    assert torch.equal(bonus(found, batch), first)
    assert torch.equal(bonus(novelty(spaces), batch), first)
