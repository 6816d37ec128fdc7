"""A clock that stands still while its thread waits for a core."""

import time
from pathlib import Path

import pytest

from marl.data.node.memory import BUSY, array, node_memory
from marl.errors import ConfigError
from marl.training import busy_time
from marl.training.busy_time import BusyTime, OwnClock, demand_own_clock

linux = pytest.mark.skipif(
    not busy_time.SCHEDULED.exists(), reason="only Linux counts how long threads wait for a core"
)


@linux
def test_sleep_counts_and_so_does_computing() -> None:
    clock = OwnClock()
    began = time.thread_time()
    time.sleep(0.05)
    while time.thread_time() < began + 0.05:
        pass
    assert 0.1 <= clock.seconds() < 0.5


@linux
def test_waiting_for_a_core_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = tmp_path / "schedstat"
    counts.write_text("5 1000000000 3\n")
    monkeypatch.setattr(busy_time, "SCHEDULED", counts)
    seconds = iter([10.0, 14.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    clock = OwnClock()
    counts.write_text("5 4000000000 3\n")  # 3 of the 4 seconds
    assert clock.seconds() == pytest.approx(1.0)


@linux
def test_a_core_that_is_lost_between_two_readings_makes_it_read_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = tmp_path / "schedstat"
    counts.write_text("5 0 3\n")
    monkeypatch.setattr(busy_time, "SCHEDULED", counts)
    monkeypatch.setattr(time, "monotonic", lambda: 10.0)
    clock = OwnClock()

    def lose_the_core() -> float:
        monkeypatch.setattr(time, "monotonic", lambda: 15.0)
        counts.write_text("5 2000000000 3\n")
        return 12.0

    monkeypatch.setattr(time, "monotonic", lose_the_core)
    assert clock.seconds() == pytest.approx(15.0 - 10.0 - 2.0)


@linux
def test_a_worker_is_busy_between_two_answers_and_not_while_it_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 7.0, 10.0, 10.0])  # made, asked, answered, asked, answered
    monkeypatch.setattr(OwnClock, "_now", lambda unused: next(now))
    block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=2)
    answers = iter([True, False])
    ask = BusyTime(block, 1).between(lambda: next(answers))
    assert ask()
    assert array(block, "seconds")[:, BUSY].tolist() == [0.0, 2.0]
    assert not ask()
    assert array(block, "seconds")[:, BUSY].tolist() == [0.0, 5.0]


@linux
def test_a_worker_that_waits_within_a_trajectory_is_not_busy_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 3.0, 8.0, 9.0])  # made, asked, waits, goes on, asked
    monkeypatch.setattr(OwnClock, "_now", lambda unused: next(now))
    busy = BusyTime(node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=1), 0)
    assert busy.seconds() == 2.0
    assert busy.waits(lambda: "found") == "found"
    assert busy.seconds() == 4.0


@pytest.mark.parametrize("content", [None, "0 0 0\n", ""])
def test_a_system_that_does_not_count_is_refused(tmp_path: Path, content: str | None) -> None:
    place = tmp_path / "schedstat"
    if content is not None:
        place.write_text(content)
    with pytest.raises(ConfigError, match=r"clock\.virtual = true needs Linux"):
        demand_own_clock(place)


@linux
def test_this_system_counts() -> None:
    demand_own_clock()
