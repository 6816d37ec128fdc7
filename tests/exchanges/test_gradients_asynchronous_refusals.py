"""The asynchronous form at the parent: what a child may claim, and what its gradient may do."""

import math

import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.exchanges.gradients.memory import GRADIENT, NOTHING, SUMS
from marl.wire.message import Kind, Message, Value
from tests.algorithms.cases import DISCRETE
from tests.exchanges.shards import Fleet
from tests.exchanges.test_gradients_asynchronous_messages import Quiet, go, join


@pytest.fixture
def fleet(fleets: list[Fleet]) -> Fleet:
    fleets.append(Quiet(DISCRETE, A3C(t_max=5), [1, 1], 2, form="asynchronous"))
    return fleets[0]


def upload(fleet: Fleet, counter: int, number: float = 1.0, **info: Value) -> Message:
    """A gradient as a child may send it."""
    told: dict[str, Value] = {"kind": GRADIENT, "count": 1.0, "rate": 1e-3, "steps": 1, **info}
    arrays = {"gradient": torch.full((fleet.parent._parameters,), number)}
    return Message(Kind.UPLOAD, "child0", 0, fleet.parent.current.version, counter, arrays, told)


@pytest.mark.parametrize(
    "wrong", [{"number": math.nan}, {"count": 1e9}, {"rate": 1.0}, {"kind": SUMS}, {"steps": -1}, {"kind": 0}]
)
def test_what_cannot_be_is_refused_and_moves_nothing(wrong: dict[str, float], fleet: Fleet) -> None:
    fleet.parent.join("child0")
    before = fleet.parent.current
    answer = fleet.parent.answer("child0", upload(fleet, 1, **wrong))  # type: ignore[arg-type]
    assert answer is not None
    assert fleet.parent.current is before
    assert answer.message.info["refused"]
    assert not answer.message.info["taken"]
    assert len(fleet.notes) == 1


def test_a_child_in_quarantine_gets_weights_and_moves_none(fleet: Fleet) -> None:
    """Versions of the others end it."""
    first, second = fleet.nodes
    for node in fleet.nodes:
        join(node)
    for counter in (1, 2, 3):
        fleet.parent.answer(first.name, upload(fleet, counter, math.nan))
    assert "child0 is quarantined for 10 rounds" in fleet.notes[-1]
    for counter in range(4, 14):
        answer = fleet.parent.answer(first.name, upload(fleet, counter))
        assert answer is not None
        assert "it is quarantined for" in str(answer.message.info["refused"])
        assert torch.equal(torch.as_tensor(answer.message.arrays["weights"]), fleet.weights())
        go(second)
    assert fleet.parent.current.version == 10
    fleet.parent.answer(first.name, upload(fleet, 14))
    assert fleet.parent.current.version == 11


def test_a_child_alone_is_not_put_in_quarantine(fleet: Fleet) -> None:
    """Nobody else could end it."""
    join(fleet.nodes[0])
    for counter in range(1, 6):
        fleet.parent.answer("child0", upload(fleet, counter, math.nan))
    fleet.parent.answer("child0", upload(fleet, 6))
    assert fleet.parent.current.version == 1


def test_a_minibatch_without_transitions_moves_nothing(fleet: Fleet) -> None:
    join(fleet.nodes[0])
    fleet.parent.answer("child0", upload(fleet, 1))
    before = fleet.weights()
    fleet.parent.answer("child0", upload(fleet, 2, 0.0, count=0.0))
    assert torch.equal(fleet.weights(), before)  # not even by the optimizer's momentum
    assert fleet.parent.current.steps == 2


def test_steps_that_a_child_cannot_have_made_do_not_count(fleet: Fleet) -> None:
    """10 a trajectory: those of uploads that were not used are told again."""
    join(fleet.nodes[0])
    fleet.parent.answer("child0", upload(fleet, 1, steps=10**6))
    assert fleet.parent.current.steps == 10
    fleet.parent.answer("child0", upload(fleet, 2)._replace(version=-40))  # too old
    fleet.parent.answer("child0", upload(fleet, 3, steps=10**6))
    assert fleet.parent.current.steps == 30


def test_one_very_long_gradient_is_shortened(fleets: list[Fleet]) -> None:
    """To ``exchange.clip`` times the usual one, where three children say what is usual, before its norm is clipped."""
    fleets.append(fleet := Quiet(DISCRETE, A3C(t_max=5, max_gradient_norm=1e9), [1], 2, form="asynchronous", clip=2.0))
    moved = []
    for child, number in (("a", 1.0), ("b", 1.0), ("c", 1.0), ("c", 1e6)):
        fleet.parent.assign_rank(child, 0, 1)
        fleet.parent.join(child)
        before = fleet.parent.saved().optimizer["optimizer"][0].clone()
        fleet.parent.answer(child, upload(fleet, 1 + (number > 1), number))
        moved.append(10 * (fleet.parent.saved().optimizer["optimizer"][0] - 0.9 * before))  # the gradient in the mean
    torch.testing.assert_close(moved[0], torch.ones_like(moved[0]))
    torch.testing.assert_close(moved[3], torch.full_like(moved[3], 2.0))


def test_steps_alone_are_never_too_old(fleet: Fleet) -> None:
    """Such as those before a replay begins, while others learn much."""
    join(fleet.nodes[0])
    message = Message(Kind.UPLOAD, "child0", 0, -40, 1, {}, {"kind": NOTHING, "count": 0.0, "steps": 4})
    answer = fleet.parent.answer("child0", message)
    assert answer is not None
    assert answer.message.info["taken"]
    assert (fleet.parent.current.version, fleet.parent.current.steps) == (0, 4)
    assert not fleet.notes
