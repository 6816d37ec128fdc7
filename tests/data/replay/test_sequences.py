"""A trajectory as rows of a replay, and back."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.data.layout import Leaf, mapped
from marl.data.replay.sequences import sequences_of, trajectory_of
from marl.data.replay.transitions import TransitionReplay, sequence_fields
from marl.data.shared import SharedBlock, memory_bytes
from marl.data.trajectory import Trajectory
from marl.errors import MessageRefused
from tests.algorithms.cases import DISCRETE, random_batch
from tests.data.replay.stacked import ENVIRONMENTS, LENGTH, STACK, played

T, B = 6, 4


def remembering(seed: int, B: int = B, parts: bool = False) -> Trajectory:
    """With at most one true last observation in each environment."""
    batch = random_batch(DISCRETE, seed, T, B)
    rows, seen = batch.last_index % B, set()
    first = [number for number, row in enumerate(rows.tolist()) if not (row in seen or seen.add(row))]
    state = torch.randn(B, 3), {"cells": torch.randn(B, 2, 2)}
    batch = batch._replace(
        last_index=batch.last_index[first], last_observations=batch.last_observations[first], state=state, version=seed
    )
    if not parts:
        return batch
    split = {"one": batch.observations[..., :1], "two": (batch.observations[..., 1:],)}
    last = {"one": batch.last_observations[..., :1], "two": (batch.last_observations[..., 1:],)}
    return batch._replace(observations=split, last_observations=last)


def same(came: Any, expected: Any) -> None:
    def compare(one: Tensor, two: Tensor) -> None:
        assert one.dtype == two.dtype
        assert torch.equal(one, two)

    mapped(compare, came, expected)


def in_order(batch: Trajectory) -> Trajectory:
    """With its last observations in the order of the environments."""
    order = torch.argsort(batch.last_index % batch.rewards.shape[1])
    last = mapped(lambda each: each[order], batch.last_observations)
    return batch._replace(last_index=batch.last_index[order], last_observations=last)


@pytest.mark.parametrize("parts", [False, True], ids=["one", "parts"])
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_the_trajectory_again_also_by_way_of_a_replay(seed: int, parts: bool) -> None:
    batch = remembering(seed, parts=parts)
    assert len(batch.last_index)
    observation: Any = Leaf((4,), torch.float32)
    if parts:
        observation = {"one": Leaf((1,), torch.float32), "two": (Leaf((3,), torch.float32),)}
    state = Leaf((3,), torch.float32), {"cells": Leaf((2, 2), torch.float32)}
    fields = sequence_fields(
        capacity=2 * B, workers=1, length=T, observation=observation, action=Leaf((), torch.int64), state=state
    )
    replay = TransitionReplay(SharedBlock(fields), 0)
    rows = sequences_of(batch)
    assert replay.of_sequences
    assert replay.add(rows).tolist() == list(range(B))
    gathered, whole = replay.gather(np.arange(B))
    assert whole.all()
    for came in (trajectory_of(rows), trajectory_of(gathered)):
        for name, expected in in_order(batch)._asdict().items():
            if name in ("version", "burn_in"):
                assert getattr(came, name) == expected
            elif name != "behaviour":
                same(getattr(came, name), expected)
    with pytest.raises(MessageRefused, match="rewards of float32"):
        replay.add(rows._replace(rewards=rows.rewards[:, 1:]))


def test_of_more_cuts_than_one_the_last_is_kept_and_steps_before_the_others_count_for_nothing() -> None:
    """In environment 1, steps 1 and 4 were cut, where there is room for one last observation."""
    batch = remembering(0, B=2)
    none = torch.zeros(T, 2, dtype=torch.bool)
    cut = none.clone()
    cut[1, 1] = cut[4, 1] = True
    last = torch.tensor([[1.0] * 4, [2.0] * 4])
    batch = batch._replace(
        terminated=none, truncated=cut, valid=~none, last_index=torch.tensor([3, 9]), last_observations=last
    )
    came = trajectory_of(sequences_of(batch))
    assert came.last_index.tolist() == [9]
    assert came.last_observations.tolist() == [[2.0] * 4]
    assert came.valid[:, 0].tolist() == [True] * T
    assert came.valid[:, 1].tolist() == [False, False, True, True, True, True]


def fields_for(capacity: int, observation: Any, length: int = LENGTH) -> dict[str, Any]:
    return sequence_fields(
        capacity=capacity, workers=1, length=length, observation=observation, action=Leaf((), torch.int64), state=()
    )


@pytest.mark.parametrize("beside", [False, True])
def test_stacks_of_frames_come_out_as_they_went_in_until_their_rows_are_overwritten(beside: bool) -> None:
    observation: Any = {"felt": Leaf((), torch.float32), "seen": STACK} if beside else STACK
    replay, rng = TransitionReplay(SharedBlock(fields_for(4 * ENVIRONMENTS, observation)), 0), np.random.default_rng(2)
    kept: dict[int, Trajectory] = {}
    for _ in range(12):
        went = played(rng, cuts=1)
        if beside:
            felt, last = torch.rand(LENGTH + 1, ENVIRONMENTS), torch.rand(1)
            went = went._replace(
                observations={"felt": felt, "seen": went.observations},
                last_observations={"felt": last, "seen": went.last_observations},
            )
        kept |= dict.fromkeys(replay.add(sequences_of(went)).tolist(), went)
        for place in range(0, len(kept), ENVIRONMENTS):
            gathered, whole = replay.gather(np.arange(place, place + ENVIRONMENTS))
            assert whole.all()
            came = trajectory_of(gathered)
            same(came.observations, kept[place].observations)
            same(came.last_observations, kept[place].last_observations)


def test_a_step_of_a_sequence_costs_little_more_than_a_frame() -> None:
    atari = Leaf((4 * 84 * 84,), torch.uint8, frames=4)
    assert memory_bytes(fields_for(200, atari, length=80)) <= 1.32 * 200 * 80 * 84 * 84
    assert memory_bytes(fields_for(200, atari._replace(frames=0), length=80)) >= 4 * 200 * 80 * 84 * 84


def test_sequences_whose_frames_are_overwritten_do_not_count() -> None:
    """Where every step begins an episode with frames of its own, the oldest rows are lost before their time."""
    replay, rng = TransitionReplay(SharedBlock(fields_for(8 * ENVIRONMENTS, STACK)), 0), np.random.default_rng(3)
    for _ in range(12):
        went = played(rng, "other", chance=1.0)
        last = replay.add(sequences_of(went))
    _, whole = replay.gather(np.arange(8 * ENVIRONMENTS))
    assert 0 < int(whole.sum()) < 8 * ENVIRONMENTS
    assert whole[last].all()
    same(trajectory_of(replay.gather(last)[0]).observations, went.observations)
