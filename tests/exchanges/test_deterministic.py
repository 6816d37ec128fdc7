"""Runs in which time decides nothing: whatever is late, lost or sent twice, the same bits come of it."""

from itertools import permutations

import numpy as np
import pytest
import torch

from marl.cluster.trainers.child_metrics import ChildrenMetrics
from marl.data.node.memory import array, ring
from marl.exchanges.member import QUARANTINE_AFTER
from marl.exchanges.merging.rest import ASKED, OVER
from marl.exchanges.sides import Answer
from marl.exchanges.weights.parent import WeightsParent
from marl.wire.message import Message
from tests.exchanges.nodes import SIZE, Child, Clock, Waiting, arrives, make_exchange, weights

WAIT_S = 10.0  # only a failing test waits so long


def make(clock: Clock, *names: str) -> tuple[WeightsParent, list[Child], ChildrenMetrics]:
    """A parent, its children by rank, and what it has heard of."""
    heard = ChildrenMetrics()
    exchange = make_exchange(every="100 steps")
    parent = exchange.parent_class()(
        weights(0.0),
        exchange,
        name="parent",
        children=len(names),
        hear=heard.hear,
        clock=clock,
    )
    children = [Child(name, clock, deterministic=True, every=exchange.every) for name in names]
    for rank, child in enumerate(children):
        parent.assign_rank(child.name, rank, workers=2)
        child.take(parent.join(child.name))
    return parent, children, heard


def play(child: Child, delta: float | torch.Tensor, *returns: float) -> None:
    """A round's steps, then the workers stand still of their own accord."""
    child.learn(delta, 100)
    ring(child.block, 0).write(np.array([[each, 10.0] for each in returns]).reshape(-1, 2))
    array(child.block, "waiting")[:, 0] = array(child.block, "pause")[OVER] + 1


def say(child: Child) -> tuple[Message, Message]:
    """A report, and the upload after it."""
    report, upload = child.side.outgoing()
    return report, upload


def a_version(parent: WeightsParent, *uploads: Message) -> list[Answer | None]:
    """The round closes with these, and the parent lets its new version go."""
    before = parent.current.version
    waiting = [Waiting(parent, upload) for upload in uploads]
    with parent._changed:
        assert parent._changed.wait_for(lambda: parent.current.version > before, WAIT_S)
    parent.release()
    return [each.answer() for each in waiting]


@pytest.mark.parametrize("arrived", [0, 1])
def test_what_was_lost_is_sent_again_and_counts_once(arrived: int, clock: Clock) -> None:
    parent, (child,), heard = make(clock, "a")
    play(child, 1.0, 5.0, 7.0)
    for message in say(child)[:arrived]:  # and the link breaks, before what is said to it arrives
        arrives(parent, message)
    for _ in range(2):
        parent.leave("a")
        child.side.left()
        child.side.joined()
        child.take(parent.join("a"))
        pause = array(child.block, "pause")
        assert pause[ASKED] > pause[OVER]  # the workers still stand still
        report, upload = say(child)  # which is lost as well, the first time
    arrives(parent, report)
    child.take(*a_version(parent, upload))
    assert heard.episodes(["a"])[0].tolist() == [5.0, 7.0]
    play(child, 1.0, 9.0)
    report, upload = say(child)
    arrives(parent, report)
    child.take(*a_version(parent, upload))
    assert heard.episodes(["a"])[0].tolist() == [9.0]
    assert parent.current.steps == 200
    assert torch.equal(parent.current.weights, weights(2.0))


def test_sums_are_made_in_the_order_of_ranks(clock: Clock) -> None:
    generator = torch.Generator().manual_seed(0)
    deltas = {name: torch.randn(SIZE, generator=generator) for name in "abc"}

    def mean(names: str, order: tuple[int, ...]) -> torch.Tensor:
        parent, children, _ = make(clock, *names)
        for child in children:
            play(child, deltas[child.name])
        uploads = [say(child)[1] for child in children]
        a_version(parent, *(uploads[rank] for rank in order))
        return parent.current.weights

    means = [mean("abc", order) for order in permutations(range(3))]
    assert all(torch.equal(each, means[0]) for each in means)
    assert not torch.equal(mean("cba", (0, 1, 2)), means[0])  # or nothing was compared


def test_who_is_refused_again_and_again_is_never_quarantined(clock: Clock) -> None:
    """Nothing would go on without it, and nothing would ever let it in again."""
    parent, (child,), _ = make(clock, "a")
    for _ in range(QUARANTINE_AFTER):
        play(child, float("nan"))
        child.take(arrives(parent, say(child)[1]))
    assert torch.equal(child.shared, weights(0.0))
    play(child, 1.0)
    child.take(*a_version(parent, say(child)[1]))
    assert torch.equal(child.shared, weights(1.0))
