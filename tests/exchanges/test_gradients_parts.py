"""What a round makes of the parts of its children, and which parts it refuses."""

import math

import pytest
import torch

from marl.errors import WeightsRefused
from marl.exchanges.gradients.memory import GRADIENT, NOTHING, SUMS
from marl.exchanges.gradients.parts import Part, all_finite, clipped, length_of, part_of, total_of
from marl.wire.message import Kind, Message, Value

RANKS = {"a": 0, "b": 1, "c": 2}


def part(*numbers: float, transitions: float = 1.0, rate: float = 0.1) -> Part:
    return Part(GRADIENT, transitions, torch.tensor(numbers), rate)


def test_numbers_are_finite_even_where_the_sum_of_their_squares_is_not() -> None:
    assert all_finite(torch.full((3,), 1e30))
    assert not all_finite(torch.tensor([1e30, math.inf]))
    assert not all_finite(torch.tensor([0.0, math.nan]))
    assert all_finite(torch.zeros(0))


def test_the_mean_counts_transitions() -> None:
    """Sums of gradients over 1 and 3 transitions."""
    total = total_of({"a": part(2.0), "b": part(2.0, transitions=3.0, rate=0.2)}, RANKS)
    assert total.numbers is not None
    assert (total.kind, total.numbers.tolist(), total.rate) == (GRADIENT, [1.0], 0.1)


def test_parts_add_up_in_the_order_of_ranks() -> None:
    parts = {"c": part(1e8), "b": part(1.0), "a": part(-1e8)}
    total = total_of(parts, RANKS)
    reverse = total_of(parts, {"a": 2, "b": 1, "c": 0})
    assert total.numbers is not None
    assert reverse.numbers is not None
    assert torch.equal(total.numbers, (torch.tensor([-1e8]) + 1.0 + 1e8) / 3)
    assert torch.equal(reverse.numbers, (torch.tensor([1e8]) + 1.0 - 1e8) / 3)
    assert [each.tolist() for each in (parts["a"].numbers, parts["c"].numbers) if each is not None] == [[-1e8], [1e8]]


def test_who_has_no_part_changes_nothing() -> None:
    assert total_of({"a": Part(NOTHING), "b": Part(NOTHING)}, RANKS).kind == NOTHING
    total = total_of({"a": Part(NOTHING), "b": part(3.0)}, RANKS)
    assert total.numbers is not None
    assert total.numbers.tolist() == [3.0]


def test_a_minibatch_without_transitions_has_no_gradient() -> None:
    total = total_of({"a": part(0.0, transitions=0.0)}, RANKS)
    assert total.numbers is not None
    assert total.numbers.tolist() == [0.0]


def test_numbers_are_added_up() -> None:
    parts = {name: Part(SUMS, 1.0, torch.tensor([1.0, 2.5], dtype=torch.float64)) for name in RANKS}
    total = total_of(parts, RANKS)
    assert total.numbers is not None
    assert (total.kind, total.numbers.tolist()) == (SUMS, [3.0, 7.5])


def test_one_very_long_gradient_is_shortened() -> None:
    """To ``clip`` times the usual one, where three children say what is usual."""
    parts = {"a": part(1.0), "b": part(4.0, transitions=2.0), "c": part(1e6)}
    total, all_of_it = total_of(parts, RANKS, clip=5.0), total_of(parts, RANKS, clip=math.inf)
    assert total.numbers is not None
    assert all_of_it.numbers is not None
    assert total.numbers.item() == pytest.approx((1.0 + 4.0 + 5.0 * 2.0) / 4)
    assert all_of_it.numbers.item() == pytest.approx((5.0 + 1e6) / 4)


def test_gradients_are_divided_by_one_importance_weight() -> None:
    """The largest of all. Where three children say what is usual, no claim counts more than a few times as much."""
    parts = {"a": part(3.0)._replace(largest=2.0), "b": part(5.0)._replace(largest=4.0)}
    total = total_of(parts, RANKS)
    assert total.numbers is not None
    assert total.numbers.item() == pytest.approx((3.0 * 2.0 + 5.0 * 4.0) / 4.0 / 2)
    parts["c"] = part(1.0)._replace(largest=1e9)
    total = total_of(parts, RANKS, clip=5.0)
    assert total.numbers is not None
    assert total.numbers.item() == pytest.approx((3.0 * 2.0 + 5.0 * 4.0 + 1.0 * 20.0) / 20.0 / 3)


def test_the_mean_is_clipped() -> None:
    gradient = torch.tensor([3.0, 4.0])
    assert length_of(gradient) == 5.0
    torch.testing.assert_close(clipped(gradient, 5.0, 1.0), torch.tensor([0.6, 0.8]))
    assert clipped(gradient, 5.0, 5.0) is gradient
    assert clipped(gradient, math.inf, 1.0) is gradient


def upload(array: str | None, *numbers: float, **info: Value) -> Message:
    arrays = {} if array is None else {array: torch.tensor(numbers)}
    return Message(Kind.UPLOAD, "a", arrays=arrays, info=info)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (upload("gradient", 1.0, kind=GRADIENT, count=11.0, rate=0.1), "expected 0 to 10 transitions, got 11.0"),
        (upload("gradient", 1.0, kind=GRADIENT, count=-1.0, rate=0.1), "expected 0 to 10 transitions, got -1.0"),
        (upload("gradient", 1.0, kind=GRADIENT, count="many", rate=0.1), "expected 0 to 10 transitions, got 'many'"),
        (upload("gradient", 1.0, kind=GRADIENT, rate=0.1), "expected 0 to 10 transitions, got None"),
        (upload("gradient", math.nan, kind=GRADIENT, count=1.0, rate=0.1), "expected finite numbers in gradient"),
        (upload("sums", math.inf, kind=SUMS, count=1.0), "expected finite numbers in sums"),
        (upload("gradient", 1.0, kind=GRADIENT, count=1.0, rate=0.3), "a learning rate of 0 to 0.2, got 0.3"),
        (upload("gradient", 1.0, kind=GRADIENT, count=1.0, rate=-0.1), "a learning rate of 0 to 0.2, got -0.1"),
        (upload("gradient", 1.0, kind=GRADIENT, count=1.0, largest=0.0), "a largest weight of more than 0"),
        (upload("gradient", 1.0, kind=GRADIENT, count=1.0, largest=math.inf), "a largest weight of more than 0"),
        (upload("gradient", 1.0, kind=SUMS, count=1.0), "expected a gradient, sums or nothing, got kind 2"),
        (upload("gradient", 1.0, kind=NOTHING), "expected a gradient, sums or nothing, got kind 0"),
        (upload(None, kind=GRADIENT, count=1.0), "expected a gradient, sums or nothing, got kind 1"),
        (upload("gradient", 1.0, kind="x", count=1.0), "expected a gradient, sums or nothing, got kind 'x'"),
        (upload(None), "expected a gradient, sums or nothing, got kind None"),
    ],
)  # fmt: skip
def test_what_no_child_can_have(message: Message, words: str) -> None:
    with pytest.raises(WeightsRefused) as refused:
        part_of(message, most=10.0, fastest=0.2)
    assert words in str(refused.value)


def test_what_a_child_can_have() -> None:
    found = part_of(upload("gradient", 1.0, kind=GRADIENT, count=10.0, rate=0.2), most=10.0, fastest=0.2)
    assert (found.kind, found.transitions, found.rate) == (GRADIENT, 10.0, 0.2)
    assert part_of(upload(None, kind=NOTHING), most=10.0, fastest=0.2) == Part(NOTHING)
