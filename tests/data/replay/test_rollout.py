"""A trajectory as bytes: what goes in comes out, and bytes from elsewhere are a trajectory or are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.data.layout import Layout, Leaf, Tree, mapped
from marl.data.replay.rollout import Views, check, num_steps, pack, rollout_tree, unpack
from marl.data.trajectory import LAST, WHOLE, Trajectory
from marl.errors import MessageRefused
from tests.data.rollouts import SIZE, layout_of
from tests.data.writers import ENVIRONMENTS, LENGTH, MAX_LAST, PARAMETERS, number_of, trajectory


def empty(layout: Layout) -> Views:
    return layout.open(torch.zeros(layout.num_bytes, dtype=torch.uint8))


def packed(number: int = 3, layout: Layout | None = None) -> Views:
    rollout = empty(layout or layout_of())
    pack(rollout, trajectory(number), torch.arange(4.0))
    return rollout


@pytest.mark.parametrize("number", range(8))
def test_what_goes_in_comes_out(number: int) -> None:
    rollout = packed(number)
    check(rollout, layout_of())
    came, priorities = unpack(rollout)
    assert number_of(came) == number
    assert priorities.tolist() == [0, 1, 2, 3]
    assert num_steps(rollout) == int(trajectory(number).valid.sum())


def test_steps_that_the_trajectory_before_has_too_count_once() -> None:
    longer = trajectory(3)._replace(burn_in=2)
    rollout = empty(layout_of())
    pack(rollout, longer)
    came, _ = unpack(rollout)
    assert came.burn_in == 2
    assert num_steps(rollout) == int(longer.valid[2:].sum()) < int(longer.valid.sum())


def test_a_rollout_is_used_again_and_nothing_of_before_is_left() -> None:
    rollout = packed(3)  # three cut episodes
    pack(rollout, trajectory(4))  # none
    came, priorities = unpack(rollout)
    assert number_of(came) == 4
    assert len(came.last_index) == len(priorities) == 0


def test_cut_episodes_that_do_not_fit_become_invalid() -> None:
    """With one environment there is room for one: what led to the second cut is learned from no more."""
    one = {"observation": Leaf((2,), torch.float32), "action": Leaf((), torch.int64, (3,))}
    layout = Layout(rollout_tree(length=6, environments=1, num_parameters=3, **one))
    cut = torch.tensor([0, 1, 0, 0, 1, 0], dtype=torch.bool)[:, None]
    played = Trajectory(
        observations=torch.arange(14.0).view(7, 1, 2),
        actions=torch.zeros(6, 1, dtype=torch.int64),
        rewards=torch.ones(6, 1),
        terminated=torch.zeros(6, 1, dtype=torch.bool),
        truncated=cut,
        valid=torch.ones(6, 1, dtype=torch.bool),
        last_observations=torch.tensor([[10.0, 11.0], [40.0, 41.0]]),
        last_index=torch.tensor([1, 4]),
        behaviour=torch.zeros(6, 1, 3),
        version=7,
    )
    rollout = empty(layout)
    pack(rollout, played)
    check(rollout, layout)
    came, _ = unpack(rollout)
    assert came.valid[:, 0].tolist() == [True, True, False, False, False, True]
    assert came.last_index.tolist() == [1]
    assert came.last_observations.tolist() == [[10.0, 11.0]]
    assert played.valid.all()  # the worker's own trajectory is as it was


NAN, INF = float("nan"), float("inf")
STATE: Tree = {"mind": Leaf((2,), torch.float32), "count": (Leaf((), torch.int64),)}  # of a network that remembers
NESTED: Tree = {"camera": Leaf((2, 2), torch.uint8), "joints": (Leaf((3,), torch.float32), Leaf((), torch.int64, (4,)))}


def nested_trajectory(rows: int) -> Trajectory:
    """Of observations with parts, and actions of two numbers with 2 and 5 categories."""

    def parts(*leading: int) -> dict[str, Any]:
        return {
            "camera": torch.randint(0, 256, (*leading, 2, 2), dtype=torch.uint8),
            "joints": (torch.randn(*leading, 3), torch.randint(0, 4, leading)),
        }

    return trajectory(1)._replace(
        observations=parts(LENGTH + 1, ENVIRONMENTS),
        last_observations=parts(rows),
        last_index=torch.arange(rows),
        actions=torch.ones(LENGTH, ENVIRONMENTS, 2, dtype=torch.int64),
        state={"mind": torch.randn(ENVIRONMENTS, 2), "count": (torch.arange(ENVIRONMENTS),)},
    )


def nested_layout() -> Layout:
    return layout_of(observation=NESTED, action=Leaf((2,), torch.int64, (2, 5)), state=STATE)


def test_observations_and_state_may_have_parts() -> None:
    layout, played = nested_layout(), nested_trajectory(2)
    rollout = empty(layout)
    pack(rollout, played)
    check(rollout, layout)
    came, _ = unpack(rollout)
    for name in (*WHOLE, *LAST):
        mapped(torch.testing.assert_close, getattr(came, name), getattr(played, name))
    assert came.observations["camera"].data_ptr() == rollout["observations"]["camera"].data_ptr()


def test_a_state_of_other_parts_is_refused() -> None:
    played = nested_trajectory(1)
    with pytest.raises(MessageRefused, match=r"expected state/mind of float32 \[3, 2\]"):
        pack(empty(nested_layout()), played._replace(state={**played.state, "mind": torch.zeros(ENVIRONMENTS, 3)}))


def test_where_nothing_is_remembered_the_state_takes_no_byte() -> None:
    assert "state" not in {name for name, _, _ in layout_of().header}
    assert unpack(packed())[0].state == ()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda views: views["observations"]["joints"][0][0, 0].fill_(INF), "a number that is not finite"),
        (lambda views: views["state"]["mind"][1, 0].fill_(NAN), "a number that is not finite"),
        (lambda views: views["last_observations"]["joints"][0][1].fill_(NAN), "a number that is not finite"),
        (lambda views: views["observations"]["joints"][1][0, 0].fill_(4), "observations/joints/1 outside their 4"),
        (lambda views: views["actions"][0, 0].fill_(2), r"actions outside their categories \[2, 5\]"),
        (lambda views: views["actions"][0, 0].fill_(-1), r"actions outside their categories \[2, 5\]"),
    ],
)
def test_nonsense_in_any_part_is_refused(spoil: Callable[[Views], None], words: str) -> None:
    layout = nested_layout()
    rollout = empty(layout)
    pack(rollout, nested_trajectory(2))
    spoil(rollout)
    with pytest.raises(MessageRefused, match=f"a trajectory has {words}"):
        check(rollout, layout)


def setter(name: str, value: object, place: object = ...) -> Callable[[Views], None]:
    def spoil(rollout: Views) -> None:
        tensor = rollout[name]
        (tensor.view(torch.uint8) if tensor.dtype is torch.bool else tensor)[place] = value  # type: ignore[index]

    return spoil


NONSENSE = {
    "version": setter("header", -1, 0),
    "fewer than no cuts": setter("header", -1, 1),
    "more cuts than fit": setter("header", MAX_LAST + 1, 1),
    "more priorities than steps": setter("header", SIZE + 1, 2),
    "burn-in to the end": setter("header", LENGTH, 3),
    "fewer than no burn-in": setter("header", -1, 3),
    "fewer than no priorities": setter("header", -(2**63), 2),
    "terminated": setter("terminated", 2, (0, 0)),
    "truncated": setter("truncated", 255, (-1, -1)),
    "valid": setter("valid", 3, (1, 1)),
    "a cut before the first step": setter("last_index", -1, 0),
    "a cut after the last step": setter("last_index", SIZE, 1),
    "no such action": setter("actions", 50_000, (0, 0)),
    "an action below zero": setter("actions", -1, (2, 1)),
    "observations": setter("observations", NAN, (0, 0, 0)),
    "the observation after the last step": setter("observations", INF, (LENGTH, 0, 0)),
    "rewards": setter("rewards", -INF, (0, 0)),
    "behaviour": setter("behaviour", NAN, (0, 0, 0)),
    "last observations": setter("last_observations", NAN, (0, 0)),
    "priorities": setter("priorities", NAN, 0),
    "a negative priority": setter("priorities", -1.0, 3),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_refused(nonsense: str) -> None:
    layout = layout_of(num_actions=1000)
    rollout = packed(3, layout)
    check(rollout, layout)
    NONSENSE[nonsense](rollout)
    with pytest.raises(MessageRefused, match="a trajectory"):
        check(rollout, layout)


def test_what_lies_behind_the_counts_matters_to_nobody() -> None:
    """Old bytes of the rollout's last use."""
    rollout = packed(1)  # one cut episode, four priorities
    rollout["last_index"][1:] = -5
    rollout["last_observations"][1:] = NAN
    rollout["priorities"][4:] = -1
    check(rollout, layout_of())
    assert number_of(unpack(rollout)[0]) == 1


def test_actions_that_are_vectors_have_to_be_finite() -> None:
    layout = layout_of(num_actions=0, action=Leaf((2,), torch.float32))
    rollout = empty(layout)
    check(rollout, layout)
    rollout["actions"][0, 0, 1] = INF
    with pytest.raises(MessageRefused, match="not finite"):
        check(rollout, layout)


LAYOUTS = [
    layout_of(num_actions=5),
    layout_of(num_actions=0, action=Leaf((3,), torch.float32)),
    layout_of(num_actions=5, observation=Leaf((4,), torch.uint8)),
]


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2), st.data())
def test_any_bytes_are_a_trajectory_or_refused(which: int, data: st.DataObject) -> None:
    """Whatever passes can be unpacked, is within its bounds and has finite numbers only."""
    layout = LAYOUTS[which]
    rollout = empty(layout)
    pick = data.draw(st.lists(st.tuples(st.integers(0, layout.num_bytes - 1), st.integers(0, 255)), max_size=40))
    memory = torch.zeros(layout.num_bytes, dtype=torch.uint8)
    for place, value in pick:
        memory[place] = value
    for column, name in enumerate(("version", "cuts", "priorities")):
        bounds = st.integers(-2, 20) if data.draw(st.booleans(), label=name) else st.integers(-(2**63), 2**63 - 1)
        memory[8 * column : 8 * column + 8] = torch.tensor([data.draw(bounds)]).view(torch.uint8)
    rollout = layout.open(memory)
    try:
        check(rollout, layout)
    except MessageRefused:
        return
    came, priorities = unpack(rollout)
    assert came.version >= 0
    assert came.observations.shape[:2] == (LENGTH + 1, ENVIRONMENTS)
    assert came.behaviour.shape == (LENGTH, ENVIRONMENTS, PARAMETERS)
    assert len(came.last_index) == len(came.last_observations) <= ENVIRONMENTS
    assert ((came.last_index >= 0) & (came.last_index < SIZE)).all()
    assert len(priorities) <= SIZE
    assert (priorities >= 0).all()
    assert 0 <= num_steps(rollout) <= SIZE
    for categories in layout.tree["actions"].categories:
        assert ((came.actions >= 0) & (came.actions < categories)).all()
    for tensor in (came.observations, came.rewards, came.behaviour, came.actions, came.last_observations):
        assert tensor.float().isfinite().all()
