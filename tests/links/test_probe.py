"""What a parent measures of a link: with a clock that says what passes."""

import itertools
import threading
from collections.abc import Callable, Iterable

import pytest

from marl.errors import LinkError, MessageRefused
from marl.links.memory import MemoryLink, memory_pair
from marl.links.probe import MOST_BYTES, SMALL_BYTES, TRIPS, answer, probe, probe_buffers, standard_work, this_machine
from marl.wire.message import Kind, Message


def child(answers: Callable[[MemoryLink, Message], None]) -> MemoryLink:
    """The parent's end of a link to a child that answers each message so."""
    ours, theirs = memory_pair()
    theirs.limit(MOST_BYTES)

    def serve() -> None:
        try:
            while True:
                answers(theirs, theirs.recv(20, probe_buffers))
        except LinkError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    return ours


def honest(link: MemoryLink, message: Message) -> None:
    answer(link, message, name="child", workers=3, cores=4)


def clock_of(passes: Iterable[float]) -> Callable[[], float]:
    """A clock that is read before and after each probe; ``passes`` are the seconds of each."""
    times = itertools.chain.from_iterable((0.0, each) for each in passes)
    return lambda: next(times)


def test_round_trip_and_rate_of_a_fast_link() -> None:
    """The large probes count, and of them the faster one: something else may have had the line."""
    link = child(honest)
    passes = [0.010, 0.011, 0.5, 0.010, 0.010, 0.012, 0.110, 0.310]  # empty ones, a small one, two large ones
    assert len(passes) == TRIPS + 3
    found = probe(link, name="parent", clock=clock_of(passes))
    link.close()
    assert found.round_trip == 0.010
    assert found.bytes_per_second == pytest.approx(2 * MOST_BYTES / 0.1)
    assert (found.workers, found.cores) == (3, 4)
    assert found.work_seconds > 0


def test_a_slow_link_gets_no_large_probe() -> None:
    link = child(honest)
    found = probe(link, name="parent", clock=clock_of([0.2] * TRIPS + [0.3]))
    link.close()
    assert found.bytes_per_second == pytest.approx(2 * SMALL_BYTES / 0.1)


def test_a_child_of_an_older_version_is_not_measured() -> None:
    link = child(lambda end, message: end.send(Message(Kind.REFUSAL, "child")))
    with pytest.raises(MessageRefused, match="expected the answer of a probe, got a refusal"):
        probe(link, name="parent")
    link.close()


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"work_seconds": "fast", "workers": 1, "cores": 1},
        {"work_seconds": -1.0, "workers": 1, "cores": 1},
        {"work_seconds": 0.1, "workers": 1},
        {"work_seconds": 0.1, "workers": 0, "cores": 1},
        {"work_seconds": 0.1, "workers": 2**20 + 1, "cores": 1},  # a period would be as long as a liar likes
    ],
)
def test_numbers_that_cannot_be_are_refused(info: dict[str, float]) -> None:
    link = child(lambda end, message: end.send(Message(Kind.PROBE, "child", info={**info})))
    with pytest.raises(MessageRefused, match="seconds, workers and cores"):
        probe(link, name="parent")
    link.close()


def test_the_standard_work_takes_some_time() -> None:
    assert standard_work() > 0


def test_a_machine_without_a_network_card_is_the_same_to_all_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = itertools.count(1 << 40)  # each process draws another number
    monkeypatch.setattr("uuid.getnode", lambda: next(drawn))
    assert this_machine() == this_machine()
    monkeypatch.setattr("uuid.getnode", lambda: next(drawn) - (1 << 40))
    assert this_machine() != this_machine()
