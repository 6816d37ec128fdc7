"""Whom a round waits for, and until when, with numbers that a person can work out."""

from marl.exchanges.gradients.attendance import LEAST_S, SLOWER, Attendance
from tests.exchanges.nodes import Clock


def test_the_first_round_waits_for_all_and_later_ones_for_those_of_the_round_before(clock: Clock) -> None:
    attendance = Attendance(clock)
    for child in "ab":
        attendance.join(child, first=child == "a")
    attendance.take("a")
    assert not attendance.is_over({"a"}, ["a", "b"])
    attendance.end_round({"a"})
    attendance.take("a")
    assert attendance.is_over({"a"}, ["a", "b"])
    attendance.take("b")  # it has a part again: the next rounds wait for it
    attendance.end_round({"a", "b"})
    attendance.take("a")
    assert not attendance.is_over({"a"}, ["a", "b"])
    attendance.leave("b")
    assert attendance.is_over({"a"}, ["a"])


def test_a_round_waits_in_proportion_to_the_time_until_its_first_part(clock: Clock) -> None:
    attendance = Attendance(clock)
    clock.now += 100.0  # without children: it does not count
    attendance.join("a", first=True)
    clock.now += 4.0
    first = clock.now
    attendance.take("a")
    clock.now += 1.0
    attendance.take("b")
    assert attendance.due_at() == first + SLOWER * 4.0
    clock.now = first + SLOWER * 4.0
    assert attendance.is_over({"a", "b"}, ["a", "b", "c"])
    attendance.end_round({"a", "b"})
    attendance.take("a")
    assert attendance.due_at() == clock.now + LEAST_S
