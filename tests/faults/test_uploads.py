"""What children send that must not reach the weights: not finite, claimed, repeated, of other sizes, damaged."""

import signal
from pathlib import Path

import pytest
import torch

from marl.exchanges.member import QUARANTINE_AFTER, SHORT_QUARANTINE
from marl.trust.keys import create_keys, key_path
from marl.wire.message import Message
from tests.commands import until
from tests.faults.counts import times
from tests.faults.flips import Flips
from tests.faults.liars import liars
from tests.faults.runs import RUN, armed, events, peak_bytes
from tests.links.pairs import Proxy
from tests.slow.cluster import child, parent, wait_for_rounds

MIB = 1024 * 1024

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800)]


@pytest.mark.slow
def test_one_child_is_poisoned(tmp_path: Path, history: Path) -> None:
    """What is not finite never reaches the others: the child is told, quarantined after the third time, and takes part
    again when it is well (D1).
    """
    bars = times(20)
    last = 2 + bars * (QUARANTINE_AFTER + SHORT_QUARANTINE)  # it uploads while it is quarantined, too
    with (
        child(tmp_path) as steady,
        armed(f"child.snapshot=poison@3-{last}"),
        child(tmp_path) as faulty,
        parent(tmp_path, [steady, faulty], *RUN) as run,
    ):
        faulty.wait("the parent refused this child's weights .*finite")
        run.wait(f"{faulty.name} .*{SHORT_QUARANTINE} rounds")
        until(lambda: len(events(history, "refused")) >= 0.8 * bars * QUARANTINE_AFTER, 600)
        refused_at = events(history, "refused")[-1]["time"]
        until(lambda: [each for each in events(history, "merged", after=refused_at) if each["child"] == faulty.name])
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    assert {event["child"] for event in events(history, "refused")} == {faulty.name}


def boast(upload: Message) -> list[Message]:
    return [upload._replace(info={"work": 10**15})]


def repeat(upload: Message) -> list[Message]:
    return [upload, upload]


def hasten(upload: Message) -> list[Message]:
    return [upload._replace(version=upload.version + 10**6), upload._replace(term=upload.term + 1)]


def curse(upload: Message) -> list[Message]:
    weights = upload.arrays["weights"]
    assert isinstance(weights, torch.Tensor)
    return [upload._replace(arrays={"weights": torch.full_like(weights, float("nan"))})]


def cut(upload: Message) -> list[Message]:
    return [upload._replace(arrays={"weights": torch.zeros(7)})]


def widen(upload: Message) -> list[Message]:
    return [upload._replace(arrays={"weights": torch.zeros(len(upload.arrays["weights"]) // 2, dtype=torch.float64)})]


def rename(upload: Message) -> list[Message]:
    return [upload._replace(arrays={"../weights": upload.arrays["weights"]})]


def swell(upload: Message) -> list[Message]:
    return [upload._replace(arrays={"weights": torch.zeros(64 * MIB // 4)})]


LIES = {lie.__name__: lie for lie in (boast, repeat, hasten, curse, cut, widen, rename, swell)}


@pytest.mark.slow
def test_liars_change_nothing(tmp_path: Path, marl_home: Path, history: Path) -> None:
    """Among children that were let in: claims of work are capped (D3), repeated uploads count once (S5), those of
    other sizes and kinds take no memory (D5), and who tells the truth trains on.
    """
    create_keys(key_path(marl_home))
    with (
        child(tmp_path) as honest,
        liars(marl_home, history, LIES) as addresses,
        parent(tmp_path, [honest, *addresses], *RUN) as run,
    ):
        run.wait(rf"children [2-9]/{1 + len(LIES)}")
        wait_for_rounds(run, tmp_path, 1)
        before = peak_bytes(run.process.pid)
        wait_for_rounds(run, tmp_path, times(20))  # each waits for those who never send what can be used
        assert peak_bytes(run.process.pid) - before < 16 * MIB
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    merged = events(history, "merged")
    assert {event["child"] for event in merged} <= {honest.name, "boast", "repeat"}
    assert {event["child"] for event in merged} >= {honest.name, "repeat"}
    most = max(event["work"] for event in merged if event["child"] == honest.name)
    assert all(event["work"] < 1000 * most for event in merged)
    assert {event["child"] for event in events(history, "refused")} <= {"boast", "curse"}


@pytest.mark.slow
def test_bits_flip_on_the_way(tmp_path: Path, history: Path) -> None:
    """Where no TLS is in between: nothing damaged is merged or applied, by the history, and the run goes on (D4)."""
    flips = Flips(seed=1)
    with (
        child(tmp_path, "--insecure") as only,
        Proxy(change=flips) as proxy,
        parent(tmp_path, [f"127.0.0.1:{(port := proxy.towards(only.port))}"], *RUN, "--insecure") as run,
    ):
        run.wait("children 1/1")
        until(lambda: flips.count >= times(200, 5), 1200, of=run.process)
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    for path in history.glob("*.jsonl"):  # without certificates the parent has a name of its own for it
        path.write_text(path.read_text().replace(f"127.0.0.1:{port}", only.name))
