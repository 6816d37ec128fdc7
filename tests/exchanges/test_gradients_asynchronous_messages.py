"""The asynchronous form, message by message: what is lost, repeated, or of another parent."""

import math

import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.algorithms.ppo import PPO
from marl.data.node.memory import STEPS, array
from marl.exchanges.gradients.asynchronous_child import AsynchronousChild
from marl.exchanges.gradients.asynchronous_parent import AsynchronousParent
from marl.exchanges.gradients.memory import GRADIENT, KIND, MEMBER, NOTHING, NUMBER, STATE, SUMS
from marl.exchanges.sides import Answer
from marl.wire.message import Kind, Message
from marl.wire.payload import hand_over
from tests.algorithms.cases import DISCRETE
from tests.exchanges.shards import Fleet, Node, Parent

STEPS_A_ROUND = 7


class Sides(AsynchronousParent, Parent):
    """Joined by no thread."""


class Quiet(Fleet):
    child_class, parent_class = AsynchronousChild, Sides


@pytest.fixture
def fleet(fleets: list[Fleet]) -> Fleet:
    fleets.append(Quiet(DISCRETE, A3C(t_max=5), [1, 1], 2, form="asynchronous"))
    return fleets[0]


def give(node: Node, kind: int = GRADIENT, number: float = 1.0) -> None:
    """What its worker does with a minibatch."""
    part, numbers = array(node.block, "part")[0], array(node.block, "part_numbers")[0]
    node.block["part_gradient"].fill_(number)
    node.block["part_sums"].fill_(number)
    numbers[:3] = 2.0, 1e-3, 1.0
    array(node.block, "counters")[0, STEPS] += STEPS_A_ROUND
    part[KIND], part[STATE], part[NUMBER] = kind, MEMBER, array(node.block, "round")[0] + 1


def sent(node: Node) -> list[Message]:
    """What the child has to say, as it arrives at the parent."""
    parent = node.fleet.parent
    return [hand_over(each, lambda header: parent.receive_buffers(node.name, header)) for each in node.side.outgoing()]


def accept(node: Node, answer: Answer | None) -> None:
    assert answer is not None
    node.side.accept(hand_over(answer.message, node.side.receive_buffers))


def join(node: Node) -> None:
    node.side.joined()
    accept(node, node.fleet.parent.join(node.name))


def go(node: Node) -> None:
    """A whole round."""
    give(node)
    (upload,) = sent(node)
    accept(node, node.fleet.parent.answer(node.name, upload))


def number_of(node: Node) -> int:
    """Of the last round that is over."""
    return int(array(node.block, "round")[0])


def test_a_child_has_the_newest_weights_after_each_round(fleet: Fleet) -> None:
    first, second = fleet.nodes
    join(first)
    join(second)
    go(first)
    assert torch.equal(first.block["weights"], fleet.weights())
    assert not torch.equal(second.block["weights"], fleet.weights())
    go(second)
    assert torch.equal(second.block["weights"], fleet.weights())
    assert (fleet.parent.current.version, fleet.parent.current.steps) == (2, 2 * STEPS_A_ROUND)
    assert [number_of(node) for node in fleet.nodes] == [1, 1]


def test_the_optimizer_is_at_the_parent_alone(fleet: Fleet) -> None:
    first, _ = fleet.nodes
    join(first)
    go(first)
    assert not first.block["optimizer"].any()
    assert fleet.parent.saved().optimizer["optimizer"].all()


def test_sums_are_added_up_at_the_child(fleet: Fleet) -> None:
    """Nothing is sent until there is a gradient."""
    first, _ = fleet.nodes
    join(first)
    give(first, SUMS, 3.0)
    first.side.leave()  # do not wait for the part of the next round
    assert sent(first) == []
    assert number_of(first) == 1
    assert (first.block["round_sums"] == 3.0).all()


def test_steps_of_a_trajectory_without_a_gradient_are_told_at_its_end(fleets: list[Fleet]) -> None:
    """Such as those before a replay begins. Where there was a gradient, nothing more is sent."""
    fleets.append(fleet := Quiet(DISCRETE, PPO(t_max=5, epochs=1, num_minibatches=2), [1], 2, form="asynchronous"))
    (node,) = fleet.nodes
    join(node)
    before = fleet.weights()
    said = []
    for kinds in ((NOTHING, NOTHING, NOTHING), (SUMS, GRADIENT, NOTHING), (SUMS, NOTHING, GRADIENT), (SUMS, NOTHING)):
        for kind in kinds:
            give(node, kind)
            node.side.leave()  # do not wait for the part of the next round
            uploads = sent(node)
            said.append(len(uploads))
            for each in uploads:
                accept(node, fleet.parent.answer(node.name, each))
            if len(said) == 3:
                assert torch.equal(fleet.weights(), before)
                assert (fleet.parent.current.version, fleet.parent.current.steps) == (0, 10)
    assert said == [0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0]
    assert fleet.parent.current.version == 2
    assert not fleet.notes


@pytest.mark.parametrize("has_come", [False, True])
def test_a_break_neither_loses_a_gradient_nor_uses_it_twice(has_come: bool, fleet: Fleet) -> None:
    first, _ = fleet.nodes
    join(first)
    give(first)
    (upload,) = sent(first)
    if has_come:
        fleet.parent.answer(first.name, upload)  # the answer is lost
    fleet.parent.leave(first.name)
    join(first)
    assert number_of(first) == int(has_come)
    if not has_come:
        (again,) = sent(first)
        accept(first, fleet.parent.answer(first.name, again))
    assert fleet.parent.current.version == number_of(first) == 1
    go(first)
    assert (fleet.parent.current.version, fleet.parent.current.steps) == (2, 2 * STEPS_A_ROUND)
    assert torch.equal(first.block["weights"], fleet.weights())


def test_the_same_message_counts_once(fleet: Fleet) -> None:
    first, _ = fleet.nodes
    join(first)
    give(first)
    (upload,) = sent(first)
    for _ in range(2):
        answer = fleet.parent.answer(first.name, upload)
    accept(first, answer)
    assert (fleet.parent.current.version, fleet.parent.current.steps) == (1, STEPS_A_ROUND)
    assert array(first.block, "round_norm")[0] < math.inf


def test_after_an_answer_that_cannot_be_used_the_child_goes_on(fleet: Fleet) -> None:
    first, _ = fleet.nodes
    join(first)
    give(first)
    (upload,) = sent(first)
    fleet.parent.answer(first.name, upload)
    first.side.rejected("its digest is wrong")
    (request,) = sent(first)
    assert request.kind is Kind.FULL
    accept(first, fleet.parent.answer(first.name, request))
    assert torch.equal(first.block["weights"], fleet.weights())
    go(first)
    assert (fleet.parent.current.version, fleet.parent.current.steps) == (2, 2 * STEPS_A_ROUND)


def test_after_a_message_that_the_parent_could_not_read_the_child_goes_on(fleet: Fleet) -> None:
    """Its gradient is lost, but not its steps."""
    first, _ = fleet.nodes
    join(first)
    go(first)
    give(first)
    sent(first)
    accept(first, fleet.parent.rejected(first.name, "its digest is wrong"))
    assert number_of(first) == 2
    assert array(first.block, "round_norm")[0] == math.inf
    go(first)
    assert (fleet.parent.current.version, fleet.parent.current.steps) == (2, 3 * STEPS_A_ROUND)


def test_a_resumed_parent_drops_what_its_predecessor_would_have_got(fleet: Fleet) -> None:
    """Versions of both have the same numbers, but their weights may differ."""
    first, _ = fleet.nodes
    join(first)
    go(first)
    saved = fleet.parent.saved()
    go(first)
    give(first)
    sent(first)
    fleet.parent = fleet.make_parent(version=1, steps=saved.current.steps, term=1, weights=saved.current.weights)
    fleet.parent.restore(saved.optimizer, saved.merged, saved.limits)
    join(first)
    (again,) = sent(first)
    accept(first, fleet.parent.answer(first.name, again))
    assert fleet.notes == ["a gradient of child0 is dropped: it is of an earlier parent (exchange.max_staleness = 32)"]
    assert fleet.parent.current.version == 1
    assert torch.equal(first.block["weights"], saved.current.weights)
    go(first)
    assert fleet.parent.current.version == 2


def test_a_child_that_was_restarted_is_heard(fleet: Fleet) -> None:
    first, _ = fleet.nodes
    join(first)
    for _ in range(3):
        go(first)
    fleet.parent.leave(first.name)
    again = Node(fleet, first.name, 1)
    fleet.parent.forget(first.name)
    join(again)
    assert torch.equal(again.block["weights"], fleet.weights())
    go(again)
    assert (fleet.parent.current.version, fleet.parent.current.steps) == (4, 4 * STEPS_A_ROUND)
