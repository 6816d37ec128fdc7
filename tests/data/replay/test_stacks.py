"""Stacks of frames in a rollout: each frame lies there once, and what comes out is what went in."""

import numpy as np
import pytest
import torch

from marl.data.layout import Layout, Leaf
from marl.data.replay.rollout import check, pack, rollout_tree, unpack
from marl.data.trajectory import Trajectory
from marl.errors import MessageRefused
from tests.data.replay.stacked import DEPTH, ENVIRONMENTS, FRAME, LENGTH, STACK, layout_of, played


def through(trajectory: Trajectory, layout: Layout | None = None) -> Trajectory:
    layout = layout or layout_of()
    memory = torch.zeros(layout.num_bytes, dtype=torch.uint8)
    pack(layout.open(memory.numpy()), trajectory)
    check(layout.open(memory), layout)
    return unpack(layout.open(memory))[0]


@pytest.mark.parametrize("begin", ["blank", "same"])
@pytest.mark.parametrize("seed", range(4))
def test_what_goes_in_comes_out(seed: int, begin: str) -> None:
    went = played(np.random.default_rng(seed), begin, cuts=seed % (ENVIRONMENTS + 1))
    came = through(went)
    for name, one, other in zip(Trajectory._fields, went, came, strict=True):
        assert one == other if not isinstance(one, torch.Tensor) else torch.equal(one, other), name


def test_a_step_costs_one_frame() -> None:
    tree = {
        name: Leaf((4 * 84 * 84,), torch.uint8, frames=frames) for name, frames in (("stacked", 4), ("not known", 0))
    }
    sizes = {
        name: Layout(
            rollout_tree(length=128, environments=8, observation=leaf, action=Leaf((), torch.int64), num_parameters=1)
        ).num_bytes
        for name, leaf in tree.items()
    }
    assert sizes["stacked"] <= 1.12 * 128 * 8 * 84 * 84
    assert sizes["not known"] >= 4 * 128 * 8 * 84 * 84


def test_beside_what_is_no_stack() -> None:
    went = played(np.random.default_rng(5), cuts=2)
    other = torch.rand(LENGTH + 1, ENVIRONMENTS, 2)
    went = went._replace(
        observations={"seen": went.observations, "felt": other},
        last_observations={"seen": went.last_observations, "felt": torch.rand(2, 2)},
    )
    came = through(went, layout_of({"seen": STACK, "felt": Leaf((2,), torch.float32)}))
    for name in ("seen", "felt"):
        assert torch.equal(went.observations[name], came.observations[name])
        assert torch.equal(went.last_observations[name], came.last_observations[name])


def test_environments_whose_frames_find_no_room_become_invalid() -> None:
    """Where episodes of a step or two each begin with other frames, there are more than a rollout has room for."""
    went = played(np.random.default_rng(3), "other", chance=0.7)
    came = through(went)
    lost = ~came.valid.any(dim=0)
    assert lost.any()
    assert torch.equal(came.observations[:, ~lost], went.observations[:, ~lost])
    assert came.valid[:, ~lost].all()


def test_a_last_observation_that_finds_no_room_costs_its_environment() -> None:
    went = played(np.random.default_rng(4), chance=0.0, cuts=3)
    went = went._replace(last_observations=torch.randint(1, 256, (3, DEPTH * FRAME), dtype=torch.uint8))
    came = through(went)
    whole = came.valid.all(dim=0)
    for place, end in enumerate(went.last_index.tolist()):
        if whole[end % ENVIRONMENTS]:
            assert torch.equal(came.last_observations[place], went.last_observations[place])
    assert torch.equal(came.observations, went.observations)
    assert not came.valid[:, ~whole].any()
    assert int(whole.sum()) < ENVIRONMENTS


@pytest.mark.parametrize("size", [DEPTH * FRAME + 1, FRAME, DEPTH * (FRAME + 1)])
def test_other_stacks_are_refused(size: int) -> None:
    went = played(np.random.default_rng(0))
    other = torch.zeros(LENGTH + 1, ENVIRONMENTS, size, dtype=torch.uint8)
    with pytest.raises(MessageRefused, match="expected stacks of 4 frames of 6"):
        through(went._replace(observations=other, last_observations=other[0, :0]))


def test_numbers_of_another_type_are_refused() -> None:
    went = played(np.random.default_rng(0))
    with pytest.raises(MessageRefused, match="uint8"):
        through(went._replace(observations=went.observations.float()))


@pytest.mark.parametrize("number", [-1, 10_000])
def test_an_order_may_name_only_frames_that_there_are(number: int) -> None:
    layout = layout_of()
    rollout = layout.open(torch.zeros(layout.num_bytes, dtype=torch.uint8))
    pack(rollout, played(np.random.default_rng(0)))
    rollout["order"][3, 1] = number
    with pytest.raises(MessageRefused, match="order"):
        check(rollout, layout)
