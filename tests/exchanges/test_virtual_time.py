"""Virtual time of rounds, with numbers that a person can work out."""

import math
import threading
import time

import numpy as np
import pytest

from marl.data.node.memory import BUSY, array
from marl.exchanges.virtual_time import BusyChild, RoundTimer, Used, VirtualClock, VirtualLink, serving_time
from tests.exchanges.nodes import Child, Clock, a_round, arrives, join, make_parent, weights

LINK = VirtualLink(delay_s=0.1, bytes_per_second=1000.0)


def test_a_round_takes_the_busiest_child_the_link_and_the_parent() -> None:
    clock = VirtualClock(LINK, barrier=True)
    for child in "ab":
        clock.join(child)
    # a: .1 down, 2 busy, .1 + 500 / 1000 up; b: the same with 3 busy; the parent .25
    clock.end_round({"a": Used(2.0, 500, 0), "b": Used(3.0, 500, 0)}, 0.25)
    assert clock.seconds == pytest.approx(0.1 + 3.0 + 0.1 + 0.5 + 0.25)


def test_what_is_used_is_counted_once() -> None:
    clock = VirtualClock(LINK, barrier=True)
    clock.join("a")
    clock.end_round({"a": Used(2.0, 500, 0)}, 0.0)
    first = clock.seconds
    clock.end_round({"a": Used(5.0, 700, 300)}, 0.0)
    assert clock.seconds - first == pytest.approx(0.1 + 0.3 + 3.0 + 0.1 + 0.2)  # 300 bytes down, 3 busy, 200 bytes up


def test_without_a_barrier_the_link_and_the_parent_are_hidden_by_work() -> None:
    clock = VirtualClock(LINK, barrier=False)
    clock.join("a")
    ends = []
    for number in range(1, 4):
        clock.end_round({"a": Used(2.0 * number, 0, 0)}, 0.25)
        ends.append(clock.seconds)
    assert ends == pytest.approx([2.0 + 0.1 + 0.25, 4.0 + 0.1 + 0.25, 6.0 + 0.1 + 0.25])


def test_without_a_barrier_an_upload_waits_for_the_answer_before() -> None:
    clock = VirtualClock(LINK, barrier=False)
    clock.join("a")
    ends = []
    for number in range(1, 4):
        clock.end_round({"a": Used(0.01 * number, 0, 0)}, 0.25)
        ends.append(clock.seconds)
    assert ends == pytest.approx([0.1 + 0.1 + 0.25, 2 * 0.45, 3 * 0.45])  # down, up, parent: .01 s of work is nothing


def test_a_round_whose_answer_is_waited_for_hides_no_link() -> None:
    """As gradients that are delayed: sums between them are waited for."""
    clock = VirtualClock(LINK, barrier=True)
    clock.join("a")
    ends, busy = [], 0.0
    for new, waits in ((2.0, False), (2.0, False), (0.25, True), (2.0, False)):
        busy += new
        clock.end_round({"a": Used(busy, 0, 0)}, 0.25, waits=waits)
        ends.append(clock.seconds)
    # Uploads: .1 + 2; 2 later, while the round ends at 2.45; 4.45 + .1, as .25 of work is less; 4.9 + .1 + 2.
    assert ends == pytest.approx([2.1 + 0.35, 4.1 + 0.35, 4.55 + 0.35, 7.0 + 0.35])


@pytest.mark.parametrize("order", ["aaab", "baaa", "aaba"])
def test_uploads_that_are_not_merged_together_end_for_themselves(order: str) -> None:
    """A child is answered when its own upload is there, in whatever order this machine lets them play."""
    clock = VirtualClock(VirtualLink(), barrier=True, together=False)
    busy, each = {"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 3.0}
    for child in "ab":
        clock.join(child)
    for child in order:
        busy[child] += each[child]
        clock.end_round({child: Used(busy[child])}, 0.25)
    assert clock.seconds == pytest.approx(3 * 1.25)  # a: three uploads, which are longer than the 3.25 of b


def test_a_parent_of_many_uploads_takes_its_cpu_time() -> None:
    clock = VirtualClock(VirtualLink(), together=False, seconds=10.0)
    for child in "abcdefgh":
        clock.join(child)
    for child in "abcdefgh":
        clock.end_round({child: Used(0.25)}, 0.25)
    assert clock.seconds == pytest.approx(10.0 + 8 * 0.25)  # not 10.5, when each is answered


def test_a_late_child_has_worked_since_its_own_last_round() -> None:
    clock = VirtualClock(VirtualLink(), barrier=True)
    for child in "ab":
        clock.join(child)
    clock.end_round({"a": Used(1.0), "b": Used(1.0)}, 0.0)
    clock.end_round({"a": Used(2.0)}, 0.0)
    clock.end_round({"a": Used(3.0), "b": Used(2.5)}, 0.0)  # b: 1.5 s since the first round, which ended at 1
    assert clock.seconds == pytest.approx(3.0)


def test_a_child_that_joins_later_or_again_begins_at_that_time() -> None:
    clock = VirtualClock(VirtualLink(bytes_per_second=1000.0), barrier=True, seconds=100.0)
    clock.join("a")
    clock.end_round({"a": Used(5.0)}, 0.0)
    clock.join("b")
    clock.end_round({"a": Used(6.0), "b": Used(2.0)}, 0.0)
    assert clock.seconds == pytest.approx(107.0)
    clock.join("a")  # started again: it counts from 0, and so does its new link
    clock.end_round({"a": Used(1.5, 500, 0)}, 0.0)
    assert clock.seconds == pytest.approx(107.0 + 1.5 + 0.5)


def ends_of_rounds(clock: VirtualClock, count: int, *, busy: float, serves: float = 0.0, learns: float) -> list[float]:
    """When each of some equal rounds of one child ends."""
    clock.join("a")
    ends = []
    for number in range(1, count + 1):
        clock.end_round({"a": Used(busy * number)}, serves, learns)
        ends.append(clock.seconds)
    return ends


def test_children_play_while_a_learner_learns_from_the_round_before() -> None:
    ends = ends_of_rounds(VirtualClock(LINK, under_way=2), 4, busy=2.0, learns=1.0)
    # Played at 2.1, 4.1, 6.1, 8.1, up in .1: the weights of the round before the last are there in time.
    assert ends == pytest.approx([3.2, 5.2, 7.2, 9.2])


def test_a_learner_that_takes_longer_holds_children_back() -> None:
    ends = ends_of_rounds(VirtualClock(LINK, under_way=2), 5, busy=1.0, learns=3.0)
    assert ends == pytest.approx([4.2, 7.2, 10.2, 13.2, 16.2])


def test_a_parent_serves_links_while_its_learner_learns() -> None:
    ends = ends_of_rounds(VirtualClock(LINK, under_way=2), 4, busy=1.0, serves=2.5, learns=3.0)
    # Two rounds are under way; what is played for the third waits for the first: 6.7 + .1 + 1 + .1 + 2.5 + 3.
    assert ends == pytest.approx([6.7, 9.7, 13.4, 16.4])


def test_with_a_third_round_under_way_a_long_way_costs_nothing() -> None:
    ends = ends_of_rounds(VirtualClock(VirtualLink(delay_s=1.0), under_way=3), 5, busy=2.0, learns=2.0)
    # 1 down, 2 of playing, 1 up, 2 of learning are 6 seconds, for three rounds at a time.
    assert ends == pytest.approx([6.0, 8.0, 10.0, 12.0, 14.0])


def test_when_weights_are_there_in_the_round_that_follows() -> None:
    clock = VirtualClock(LINK, under_way=3)
    clock.join("a")
    clock.end_round({"a": Used(1.0)}, 0.0, 3.0)
    assert clock.seconds == pytest.approx(4.2)  # uploaded at 1.1
    assert clock.news_in("a", 500) == pytest.approx(4.2 + 0.1 + 0.5 - 1.1)
    clock.end_round({"a": Used(7.0)}, 0.0, 0.5)  # it has played until 7.1, and on
    assert clock.seconds == pytest.approx(7.7)
    assert clock.news_in("a", 0) == pytest.approx(0.7)
    clock.under_way = 2
    assert clock.news_in("a", 500) == 0.0  # what follows that round waits for them


@pytest.mark.parametrize("under_way", [2, 3])
def test_the_clock_of_a_learner_is_the_equation_written_out(under_way: int) -> None:
    """Children of unequal speeds, messages of unequal lengths; one child joins later."""
    clock, rounds, rng = VirtualClock(LINK, under_way=under_way, seconds=5.0), 12, np.random.default_rng(0)
    busy, up, down = rng.uniform(0.1, 3.0, (rounds, 3)), *rng.integers(0, 900, (2, rounds, 3))
    learns, serves = rng.uniform(0.1, 2.5, (2, rounds))
    served = 5.0  # when the parent had served each round
    joined = [0, 0, 4]  # the round in which each child joins
    learned = [5.0]  # when each round was learned from; the first is the beginning
    played: dict[int, float] = {}
    for number in range(rounds):
        uploads = {}
        arrivals = []
        for child in range(3):
            if number == joined[child]:
                clock.join(str(child))
                played[child] = learned[number]
            if number < joined[child]:
                continue
            sums = (each[joined[child] : number + 1, child].sum() for each in (busy, up, down))
            uploads[str(child)] = Used(*sums)
            weights = learned[max(number + 1 - under_way, joined[child])]
            began = max(played[child], weights + 0.1 + down[number, child] / 1000.0)
            played[child] = began + busy[number, child]
            arrivals.append(played[child] + 0.1 + up[number, child] / 1000.0)
        clock.end_round(uploads, serves[number], learns[number])
        served = max(served, *arrivals) + serves[number]
        learned.append(max(learned[-1], served) + learns[number])
        assert clock.seconds == pytest.approx(learned[-1])


def test_no_limit_of_a_link_is_none() -> None:
    assert VirtualLink(0.0, math.inf).way(10**12) == 0.0


def test_a_child_tells_the_busiest_worker_between_uploads_and_its_own_process() -> None:
    child, cpu = Child("a", Clock(), workers=2), Clock()
    seconds = array(child.block, "seconds")
    busy = BusyChild(seconds[:, BUSY], cpu)
    assert busy.told() == {}  # nobody counts
    seconds[:, BUSY] = 1.0, 3.0
    cpu.now += 0.5
    assert busy.told() == {"busy": 3.5}
    cpu.now += 0.25
    busy.looked(0.25)  # it was spent on nothing that anybody waits for
    seconds[:, BUSY] += 2.0, 1.0
    assert busy.told() == {"busy": 5.5}


def test_workers_that_wait_for_each_other_between_uploads_count_each_time() -> None:
    seconds = array(Child("a", Clock(), workers=2).block, "seconds")
    busy = BusyChild(seconds[:, BUSY], lambda: 0.0)
    seconds[:, BUSY] += 1.0, 3.0
    busy.waited()
    seconds[:, BUSY] += 2.0, 1.0
    assert busy.told() == {"busy": 5.0}


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="nobody counts virtual time here")
def test_what_the_main_thread_computes_keeps_no_round_waiting() -> None:
    def compute() -> None:
        began = time.thread_time()
        while time.thread_time() < began + 0.05:
            pass

    before = serving_time()
    compute()
    assert serving_time() - before < 0.025
    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert serving_time() - before >= 0.05


def test_what_a_parent_spends_on_looking_is_not_counted() -> None:
    cpu = Clock()
    timer = RoundTimer(VirtualClock(VirtualLink()), cpu)
    timer.join("a")
    cpu.now += 1.0
    timer.looked(0.75)
    timer.upload("a", 2.0)
    timer.end_round()
    assert timer.seconds == pytest.approx(2.25)


def test_rounds_of_the_parent_are_timed(clock: Clock) -> None:
    cpu, virtual = Clock(), VirtualClock(VirtualLink(0.0, 1000.0), barrier=True)
    parent = make_parent(weights(0.0), clock, barrier=True)
    parent.timer = timer = RoundTimer(virtual, cpu)
    timer.traffic = {"a": (500, 0), "b": (0, 0)}.__getitem__
    children = join(parent, clock, "a", "b", barrier=True)
    cpu.now += 0.25  # of the parent, from the moment when the first child joined
    for child, seconds in zip(children, (2.0, 1.0), strict=True):
        child.side._busy = BusyChild(
            array(child.block, "seconds")[:, BUSY], lambda: 0.0
        )  # this process is not the child's
        array(child.block, "seconds")[:, BUSY] = seconds
        array(child.block, "waiting")[:, 0] = 1  # all workers rest
    a_round(parent, clock, children)
    assert timer.seconds == pytest.approx(2.0 + 0.5 + 0.25)


def test_uploads_that_are_mixed_in_one_by_one_are_timed_one_by_one(clock: Clock) -> None:
    cpu, virtual = Clock(), VirtualClock(VirtualLink(0.5, 1000.0), together=False)
    parent = make_parent(weights(0.0), clock, name="pairwise")
    parent.timer = timer = RoundTimer(virtual, cpu)
    timer.traffic = {"a": (500, 0), "b": (0, 0)}.__getitem__
    ends = []
    for child, seconds in zip(join(parent, clock, "a", "b", name="pairwise"), (2.0, 3.0), strict=True):
        child.side._busy = BusyChild(array(child.block, "seconds")[:, BUSY], lambda: 0.0)
        array(child.block, "seconds")[:, BUSY] = seconds
        child.learn(math.nan if child.name == "b" else 1.0, 10)
        clock.now += 5
        cpu.now += 0.25
        child.take(arrives(parent, child.upload()))
        ends.append(timer.seconds)
    # a: 2 busy, .5 up, .5 for its bytes; b: 3 busy, .5 up, and it is refused; the parent .25 for each
    assert ends == pytest.approx([2.0 + 0.5 + 0.5 + 0.25, 3.0 + 0.5 + 0.25])
