"""Children that answer, that do not, and that come too late."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from marl.cluster.planning.machines import Machine, Probed, machines_apart, machines_of, measure_children
from marl.errors import LinkClosed, LinkError, NoChildren, TrustError
from marl.links.memory import CountedQueue, MemoryLink, memory_pair
from marl.links.probe import MOST_BYTES, LinkSpeed, answer, probe_buffers, this_machine
from marl.wire.link import Link
from marl.wire.message import Kind, Message

PATIENCE_S = 20.0


class Met:
    """See ``Endpoint``: what ``meet`` does is given."""

    address = "somewhere"

    def __init__(self, meet: Callable[[], Link]) -> None:
        self.meet, self.closed = meet, threading.Event()

    def check(self) -> None: ...

    def close(self) -> None:
        self.closed.set()


def child() -> Link:
    """A link to a child that answers probes until it hears another word."""
    ours, theirs = memory_pair()
    theirs.limit(MOST_BYTES)

    def serve() -> None:
        with suppress(LinkError):
            while (message := theirs.recv(PATIENCE_S, probe_buffers)).kind is Kind.PROBE:
                answer(theirs, message, name="child", workers=2, cores=3)

    threading.Thread(target=serve, daemon=True).start()
    return ours


def test_a_child_that_answers() -> None:
    endpoint = Probed(Met(child))
    (speed,) = measure_children([endpoint], PATIENCE_S, print)
    assert (speed.workers, speed.cores, speed.machine) == (2, 3, this_machine())
    assert speed.round_trip > 0


def test_one_that_is_not_there_yet_is_asked_again() -> None:
    tries = iter([LinkClosed("refused"), LinkClosed("refused"), None])

    def meet() -> Link:
        if (error := next(tries)) is not None:
            raise error
        return child()

    assert len(measure_children([Probed(Met(meet))], PATIENCE_S, print)) == 1


def test_one_whose_link_breaks_while_it_is_measured_is_asked_again() -> None:
    """So is a child that is busy: it closes the link."""
    ours, theirs = memory_pair()
    theirs.close()
    links = iter([lambda: ours, child])
    assert len(measure_children([Probed(Met(lambda: next(links)()))], PATIENCE_S, print)) == 1


class Broken(MemoryLink):
    """A link of a user's own."""

    def send(self, message: Message, digest: bytes | None = None) -> None:
        raise OSError("no broker")


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_link_of_a_users_own_may_raise_anything() -> None:
    link = Broken(CountedQueue(1), CountedQueue(1), max_bytes=1, patience=1.0)
    endpoint = Probed(Met(lambda: link))
    assert measure_children([endpoint], PATIENCE_S, print) == []
    assert endpoint.meet() is link


def test_one_that_does_not_answer_is_not_measured_any_longer_than_the_others() -> None:
    """Its link is closed, so the run can meet it at once."""
    asked, links = threading.Event(), [memory_pair() for _ in range(2)]
    met = iter(links)

    def meet() -> Link:
        asked.set()
        return next(met)[0]

    endpoint = Probed(Met(meet))
    endpoint.begin(threading.Event())
    assert asked.wait(PATIENCE_S)
    theirs = links[0][1]
    theirs.limit(MOST_BYTES)
    assert theirs.recv(PATIENCE_S, probe_buffers).kind is Kind.PROBE
    endpoint.end()
    with pytest.raises(LinkClosed):
        theirs.recv(PATIENCE_S / 4, probe_buffers)
    assert endpoint.meet() is links[1][0]
    assert not endpoint.asks


def test_who_waits_is_told_for_what_and_waits_once() -> None:
    """The child comes when the user knows."""
    lines, told = list[str](), threading.Event()

    def meet() -> Link:
        assert told.wait(PATIENCE_S)
        return child()

    def say(line: str) -> None:
        lines.append(line)
        told.set()

    assert len(measure_children([Probed(Met(meet))], PATIENCE_S, say)) == 1
    assert lines == ["waiting up to 20 s (--wait) for the first child, to measure it"]


def test_where_nobody_comes_the_run_need_not_wait_as_well() -> None:
    def absent() -> Link:
        raise LinkClosed("10.0.0.7: refused")

    silent, comes = threading.Event(), list[Link]()

    def never() -> Link:
        assert silent.wait(PATIENCE_S)
        return comes.pop()

    with pytest.raises(NoChildren, match=r"no child took part within 0.1 s \(--wait\): 10.0.0.7: refused; somewhere: "):
        measure_children([Probed(Met(absent)), Probed(Met(never))], 0.1, print)
    comes.append(child())
    silent.set()


def test_one_that_cannot_be_trusted_is_left_to_the_run() -> None:
    def meet() -> Link:
        raise TrustError("a stranger")

    endpoint = Probed(Met(meet))
    assert measure_children([endpoint], PATIENCE_S, print) == []
    with pytest.raises(TrustError):
        endpoint.meet()


def test_one_that_comes_too_late_is_met_by_the_run() -> None:
    comes, (ours, _) = threading.Event(), memory_pair()

    def meet() -> Link:
        assert comes.wait(PATIENCE_S)
        return ours

    endpoint = Probed(Met(meet))
    endpoint.begin(threading.Event())
    endpoint.end()
    comes.set()
    assert endpoint.meet() is ours


def test_after_that_it_is_the_endpoint_that_it_was_given() -> None:
    given = Met(child)
    endpoint = Probed(given)
    measure_children([endpoint], PATIENCE_S, print)
    assert endpoint.meet() is not None
    endpoint.close()
    assert given.closed.is_set()


def test_one_that_nobody_measures() -> None:
    assert Probed(Met(child)).meet() is not None


THERE = LinkSpeed(0.001, 1e8, work_seconds=0.003, workers=2, cores=4, machine="another")


def test_how_fast_a_machine_is() -> None:
    assert machines_of([THERE], work_seconds=0.001) == [Machine(2, 4, pytest.approx(3.0), 0.001, 1e8)]
    (here,) = machines_of([THERE._replace(machine=this_machine())], work_seconds=0.001)
    assert here.here
    assert here.slowness == 1.0


def test_children_of_one_machine_divide_its_cores() -> None:
    three = [THERE, THERE._replace(workers=6), THERE._replace(machine="a third")]
    assert [each.cores for each in machines_of(three, 0.001)] == [1, 3, 4]


def test_machines_of_virtual_time_have_a_core_for_each_process() -> None:
    assert machines_apart([1, 3], 0.01, 1e6) == [Machine(1, 2, 1.0, 0.02, 1e6), Machine(3, 4, 1.0, 0.02, 1e6)]
