import math
import signal
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.data.replay.priorities import FAN_OUT, MAX_TOP, Priorities, importance_weights, priority_fields
from marl.data.shared import SharedBlock
from marl.processes.group import ProcessGroup
from tests.data import writers

WAIT_S = 60.0  # the most that a process may take on a busy machine
THREE_LEVELS = MAX_TOP * FAN_OUT + 5


def made(capacity: int, alpha: float = 1.0) -> tuple[Priorities, SharedBlock]:
    block = SharedBlock(priority_fields(capacity))
    return Priorities(block, alpha), block


def assert_sums(block: SharedBlock) -> None:
    """Every sum is that of its children."""
    levels = [block[name].numpy() for name in block.names()]
    for above, level in pairwise(levels):
        np.testing.assert_allclose(above, level.reshape(len(above), -1).sum(1), rtol=1e-12)


@pytest.mark.parametrize("capacity", [1, 2, MAX_TOP, MAX_TOP + 1, MAX_TOP * FAN_OUT, THREE_LEVELS])
def test_none_where_there_are_none(capacity: int) -> None:
    priorities, block = made(capacity)
    rng = np.random.default_rng(0)
    assert priorities.sample(4, rng) is None
    priorities.set(np.array([capacity - 1]), np.array([2.0]))
    indices, probabilities = priorities.sample(4, rng) or (None, None)
    assert indices.tolist() == [capacity - 1] * 4
    assert probabilities.tolist() == [1.0] * 4
    priorities.set(np.array([capacity - 1]), np.array([0.0]))
    assert priorities.sample(4, rng) is None
    assert len(block[block.names()[-1]]) >= capacity


def test_in_proportion_to_a_power() -> None:
    """By hand: 1^0.5 : 4^0.5 : 9^0.5 = 1 : 2 : 3. In six strata, each comes as often as that."""
    priorities, _ = made(THREE_LEVELS, alpha=0.5)
    priorities.set(np.array([0, 40, THREE_LEVELS - 1]), np.array([1.0, 4.0, 9.0]))
    assert priorities.total() == 6
    for seed in range(20):
        indices, probabilities = priorities.sample(6, np.random.default_rng(seed)) or ((), ())
        assert indices.tolist() == [0, 40, 40, *[THREE_LEVELS - 1] * 3]
        np.testing.assert_allclose(probabilities, np.array([1, 2, 2, 3, 3, 3]) / 6)


def test_an_exponent_of_zero_ignores_all_but_never() -> None:
    priorities, _ = made(3, alpha=0.0)
    priorities.set(np.arange(3), np.array([5.0, 0.0, 0.001]))
    indices, probabilities = priorities.sample(4, np.random.default_rng(0)) or ((), ())
    assert indices.tolist() == [0, 0, 2, 2]
    assert probabilities.tolist() == [0.5] * 4


def test_single_draws_have_the_same_chances() -> None:
    """Without the help of strata: chi square over all leaves, 99 degrees, 0.1 %."""
    priorities, _ = made(100)
    powers = np.arange(1.0, 101.0)
    priorities.set(np.arange(100), powers)
    rng = np.random.default_rng(3)
    counts = np.zeros(100)
    for _ in range(20_000):
        indices, _ = priorities.sample(1, rng) or ((), ())
        counts[indices] += 1
    expected = 20_000 * powers / powers.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 148.2


def test_the_last_of_two_for_one_counts() -> None:
    priorities, block = made(THREE_LEVELS)
    priorities.set(np.array([7, 7, 8]), np.array([1.0, 2.0, 3.0]))
    assert priorities.total() == 5
    assert_sums(block)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_priority_that_is_none_is_refused(bad: float) -> None:
    priorities, _ = made(4)
    with pytest.raises(ValueError, match="finite priorities"):
        priorities.set(np.array([0, 1]), np.array([1.0, bad]))
    assert priorities.total() == 0


WRITES = st.lists(
    st.tuples(
        st.integers(0, THREE_LEVELS - 1),
        st.lists(
            st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.floats(0, 1e-300)),
            min_size=1,
            max_size=80,
        ),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=150)
@given(capacity=st.sampled_from([1, 20, 200, MAX_TOP + 1, THREE_LEVELS]), writes=WRITES, seed=st.integers(0, 2**32))
def test_any_writes_against_a_list(capacity: int, writes: list[tuple[int, list[float]]], seed: int) -> None:
    priorities, block = made(capacity)
    literal = [0.0] * capacity
    for place, values in writes:
        values = values[:capacity]
        places = [(place + each) % capacity for each in range(len(values))]
        for each, value in zip(places, values, strict=True):
            literal[each] = value
        priorities.set(np.array(places), np.array(values))
    assert_sums(block)
    total = math.fsum(literal)
    assert priorities.total() == pytest.approx(total, rel=1e-12, abs=0)
    count = 64
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample = priorities.sample(count, np.random.default_rng(seed))
    if not total:
        assert sample is None
        return
    assert sample is not None
    indices, probabilities = sample
    assert all(literal[index] > 0 for index in indices)
    if total > 1e-6:  # below, numbers have hardly any digits
        chances = np.array(literal) / total
        np.testing.assert_allclose(probabilities, chances[indices], rtol=1e-9)
        drawn = np.bincount(indices, minlength=capacity)  # strata: nobody gets more or less than its share
        assert (abs(drawn - count * chances) < 2 + 1e-6).all()


def test_a_sum_that_is_old_misleads_nobody() -> None:
    """Above a leaf that is gone, and above one that came: sampled are only those that are there."""
    priorities, block = made(THREE_LEVELS)
    leaves = block["priorities_2"].numpy()
    priorities.set(np.arange(THREE_LEVELS), np.ones(THREE_LEVELS))
    leaves[:] = 0  # by a process that was killed before it summed
    leaves[500] = 3.0
    indices, probabilities = priorities.sample(64, np.random.default_rng(0)) or ((), ())
    assert set(indices.tolist()) == {500}
    assert (probabilities > 0).all()
    leaves[500] = 0
    assert priorities.sample(64, np.random.default_rng(0)) is None


def test_probabilities_are_those_of_the_draw_even_if_sums_are_old() -> None:
    """The tree says 10 : 10 above leaves that are 1 + 2 : 4. By hand: a third and two thirds of a half, and a half."""
    priorities, block = made(MAX_TOP + 1)
    for leaf, value in {0: 1.0, 1: 2.0, FAN_OUT: 4.0}.items():
        block["priorities_1"][leaf] = value
    block["priorities_0"][:2] = 10.0
    indices, probabilities = priorities.sample(600, np.random.default_rng(0)) or ((), ())
    assert Counter(indices.tolist()) == {0: 100, 1: 200, FAN_OUT: 300}
    np.testing.assert_allclose(probabilities, np.repeat([1 / 6, 1 / 3, 1 / 2], [100, 200, 300]))


def test_the_next_write_below_puts_a_sum_right() -> None:
    priorities, block = made(THREE_LEVELS)
    priorities.set(np.arange(THREE_LEVELS), np.ones(THREE_LEVELS))
    block["priorities_0"][0] = block["priorities_1"][0] = 1e9
    priorities.set(np.array([3]), np.array([2.0]))
    assert_sums(block)
    assert priorities.total() == THREE_LEVELS + 1


def test_importance_weights_by_hand() -> None:
    probabilities, count, beta = np.array([0.5, 0.25, 0.001, 0.125]), 1000, 0.4
    literal = [(count * float(probability)) ** -beta for probability in probabilities]
    expected = [weight / max(literal) for weight in literal]
    weights, largest = importance_weights(probabilities, count, beta)
    np.testing.assert_allclose(weights, expected, rtol=1e-14)
    assert weights.max() == 1
    assert largest == pytest.approx(max((count * each) ** -beta for each in probabilities), rel=1e-14)
    assert importance_weights(probabilities, count, 0.0)[0].tolist() == [1.0] * 4


def test_a_process_is_killed_before_it_sums(group: ProcessGroup) -> None:
    priorities, block = made(THREE_LEVELS)
    places = np.arange(THREE_LEVELS)
    priorities.set(places, np.ones(THREE_LEVELS))
    killed = group.start("one", writers.sets_priorities, block, places, 100, "priorities.summing=kill@7")
    killed.process.join(WAIT_S)
    assert killed.process.exitcode == -signal.SIGKILL
    leaves = block["priorities_2"].numpy()
    indices, _ = priorities.sample(1000, np.random.default_rng(0)) or ((), ())
    assert (leaves[indices] > 0).all()
    priorities.set(places, leaves[places])
    assert_sums(block)


def test_two_write_and_one_samples(group: ProcessGroup) -> None:
    """All meet in all sums; only even places ever have a priority. The next write to each puts all sums right."""
    priorities, block = made(THREE_LEVELS)
    even = np.arange(0, THREE_LEVELS, 2)
    priorities.set(even[-1:], np.array([1.0]))
    rng, samples = np.random.default_rng(0), 0
    processes = [
        group.start(f"writer {part}", writers.sets_priorities, block, even[part:-1:2], 4000, "").process
        for part in range(2)
    ]
    while any(process.is_alive() for process in processes) or not samples:
        indices, probabilities = priorities.sample(64, rng) or ((), ())
        assert (indices % 2 == 0).all()
        assert ((probabilities > 0) & (probabilities <= 1)).all()
        samples += 1
    assert [process.exitcode for process in processes] == [0, 0]
    priorities.set(even, block["priorities_2"].numpy()[even])
    assert_sums(block)
