import pytest
import torch

from marl.data.node.memory import MAX_METRICS, MAX_NAME, MAX_OUTSIDE, OUTSIDE, SKIPPED, array, node_memory
from marl.data.node.metrics import (
    OUTSIDE_OBSERVATIONS,
    SKIPPED_UPDATES,
    MetricsRow,
    first_outside,
    read_metrics,
    tell_outside,
)
from marl.data.shared import SharedBlock
from marl.errors import PluginError


@pytest.fixture
def block() -> SharedBlock:
    return node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=3)


def test_any_name_is_told_and_meant_over_those_who_have_it(block: SharedBlock) -> None:
    assert read_metrics(block) == {}
    first, second = MetricsRow(block, 0), MetricsRow(block, 1)
    first.write({"value_loss": torch.tensor(2.0), "my/own_number": 5.0, "y" * MAX_NAME: 1.0})
    second.write({"other": 7, "value_loss": 4.0, "nothing": float("nan")})
    assert read_metrics(block) == {"value_loss": 3.0, "my/own_number": 5.0, "y" * MAX_NAME: 1.0, "other": 7.0}
    first.write({"my/own_number": torch.tensor([[6.0]])})
    assert read_metrics(block)["my/own_number"] == 6.0


def test_a_successor_writes_where_the_killed_worker_did(block: SharedBlock) -> None:
    MetricsRow(block, 2).write({"a": 1.0, "b": 2.0})
    MetricsRow(block, 2).write({"c": 3.0, "b": 4.0})
    assert read_metrics(block) == {"a": 1.0, "b": 4.0, "c": 3.0}


def test_skipped_updates_are_a_total_and_only_there_if_there_are_any(block: SharedBlock) -> None:
    array(block, "counters")[:, SKIPPED] = 1, 0, 4
    assert read_metrics(block) == {SKIPPED_UPDATES: 5.0}
    array(block, "counters")[1, OUTSIDE] = 7
    assert read_metrics(block) == {SKIPPED_UPDATES: 5.0, OUTSIDE_OBSERVATIONS: 7.0}


def test_what_was_outside_first_is_kept(block: SharedBlock) -> None:
    assert first_outside(block) == ""
    places = array(block, "first_outside")
    tell_outside(places[1], "the first")
    tell_outside(places[1], "another, and longer")
    assert first_outside(block) == "the first"
    tell_outside(places[0], "é" * MAX_OUTSIDE)  # more than there is room for
    assert first_outside(block) == "é" * (MAX_OUTSIDE // 2)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"x" * (MAX_NAME + 1): 1.0}, "names of at most 48 letters"),
        ({"two words": 1.0}, "got 'two words'"),
        ({"": 1.0}, "names of at most"),
        ({"\x1b[31m": 1.0}, "names of at most"),
        ({3: 1.0}, "got 3"),
        ({"shares": torch.zeros(2)}, "expected one number as 'shares'"),
        ({"text": "much"}, "expected one number as 'text'"),
        ({"none": None}, "expected one number as 'none'"),
        ({f"n{number}": 0.0 for number in range(MAX_METRICS + 1)}, "at most 32 names, got 'n32' besides"),
    ],
)
def test_what_cannot_be_told_is_said(block: SharedBlock, metrics: dict, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        MetricsRow(block, 0).write(metrics)
