"""The normaliser of a long run: whatever becomes of single uploads, each observation is counted once."""

import numpy as np

from marl.data.node.memory import array
from marl.data.normalizer import add, as_row, statistics_of
from tests.exchanges.nodes import Child, Clock, Waiting, a_round, arrives, join, make_parent, merged_count, weights

ROUNDS, OBSERVATIONS, STEPS = 1000, 3, 4


def test_after_a_thousand_rounds_the_count_is_what_was_seen(clock: Clock) -> None:
    """One child is always in time. Uploads of the others come too late or not at all, and answers are lost."""
    parent = make_parent(weights(0.0), clock, normalizes=True)
    children = join(parent, clock, "steady", "first", "second", normalizes=True)
    random = np.random.default_rng(0)
    seen = []

    def play(child: Child) -> None:
        observations = random.normal(3.0, 2.0, (OBSERVATIONS, 2))
        seen.append(observations)
        worker = int(random.integers(2))
        add(array(child.block, "observations")[1 + worker], statistics_of(observations))
        child.learn(0.0, STEPS, worker)

    def back(child: Child) -> None:
        parent.leave(child.name)
        child.side.left()
        child.side.joined()
        child.take(parent.join(child.name))

    steady, *others = children
    fates = random.choice(["in time", "late", "lost", "unheard"], (ROUNDS, len(others)), p=[0.7, 0.1, 0.1, 0.1])
    for row in fates:
        clock.now += 5
        for child in children:
            play(child)
        uploads = {child.name: child.upload() for child in children}
        became = dict(zip(others, row, strict=True))
        merged = [child for child, fate in became.items() if fate in ("in time", "unheard")]
        for child in others:
            if child not in merged:
                parent.leave(child.name)  # nobody waits for it
        waiting = {child: Waiting(parent, uploads[child.name]) for child in merged}
        merged_count(parent, len(merged))
        steady.take(arrives(parent, uploads["steady"]))
        for child, fate in became.items():
            answer = waiting[child].answer() if child in merged else None
            if fate == "in time":
                child.take(answer)
            elif fate == "late":
                parent.members[child.name].live = True
                child.take(arrives(parent, uploads[child.name]))
            else:
                back(child)
    assert parent.current.version == ROUNDS
    for child in others:
        back(child)
    for child in children:
        play(child)
    a_round(parent, clock, [*others, steady])

    everything = np.concatenate(seen)
    assert parent.current.statistics is not None
    assert float(parent.current.statistics[0]) == len(everything) == (ROUNDS + 1) * 3 * OBSERVATIONS
    np.testing.assert_allclose(parent.current.statistics.numpy(), as_row(statistics_of(everything)), rtol=1e-6)
    assert parent.current.steps == (ROUNDS + 1) * 3 * STEPS
    assert not any(child.notes for child in children)


def test_what_was_seen_counts_where_no_step_was_counted_yet(clock: Clock) -> None:
    """A worker counts observations before steps: a round without work makes no weights, and forgets nothing."""
    parent = make_parent(weights(0.0), clock, normalizes=True)
    (only,) = join(parent, clock, "only", normalizes=True)
    add(array(only.block, "observations")[1], statistics_of(np.ones((2, 2))))
    only.take(arrives(parent, only.upload()))
    assert parent.current.version == 0
    clock.now += 5
    only.learn(0.0, 10)
    a_round(parent, clock, [only])
    assert parent.current.statistics is not None
    assert parent.current.statistics[0] == 2
