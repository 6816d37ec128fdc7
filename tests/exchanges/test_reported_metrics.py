"""What a loss tells people travels from a child by name."""

import pytest

from marl.data.node.memory import OUTSIDE, SKIPPED, UPDATES, array, node_memory
from marl.data.node.metrics import MetricsRow, tell_outside
from marl.errors import MessageRefused
from marl.exchanges.child_reports import Reporter, read_report
from marl.wire.message import Message, Value


def report(**changes: Value) -> Message:
    block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=2)
    MetricsRow(block, 1).write({"my_number": 0.25, "endless": float("inf")})
    array(block, "counters")[0, SKIPPED] = 3
    array(block, "counters")[1, UPDATES] = 7
    message = next(Reporter(block).messages("child", 0))
    return message._replace(info={**message.info, **{f"metric.{name}": value for name, value in changes.items()}})


def test_names_and_totals_arrive() -> None:
    assert read_report(report()).metrics == {"my_number": 0.25, "skipped_updates": 3.0}


@pytest.mark.parametrize("value", ["text", None, 1e300, float("nan"), [1.0]])
def test_what_is_no_number_is_left_out(value: Value) -> None:
    assert "liar" not in read_report(report(liar=value)).metrics


@pytest.mark.parametrize("names", [[f"n{number}" for number in range(64)], ["two words"], ["x" * 49], ["\x1b[31m"]])
def test_more_or_other_names_than_a_child_can_have_are_refused(names: list[str]) -> None:
    with pytest.raises(MessageRefused, match="at most 32 metrics"):
        read_report(report(**dict.fromkeys(names, 0.0)))


def test_what_was_outside_its_space_arrives_in_words() -> None:
    block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=2)
    array(block, "counters")[1, OUTSIDE] = 4
    tell_outside(array(block, "first_outside")[1], "mine: observation is 2")
    message = next(Reporter(block).messages("child", 0))
    found = read_report(message)
    assert (found.metrics, found.first_outside) == ({"outside_observations": 4.0}, "mine: observation is 2")
    for lie, words in (("\x1b[31m\n" * 999, "?[31m"), (7, "")):
        found = read_report(message._replace(info={**message.info, "first_outside": lie}))
        assert found.first_outside.startswith(words)
        assert len(found.first_outside) <= 500
        assert found.first_outside.isprintable()
    assert read_report(report()).first_outside == ""
