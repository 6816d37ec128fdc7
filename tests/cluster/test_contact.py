"""A child that cannot take part, or go on, says why before it hangs up."""

import queue
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from marl.cluster import contact
from marl.cluster.child import ChildSettings, _Child
from marl.cluster.contact import Candidate, Contact, _Conversation, in_words
from marl.cluster.handshake import examine
from marl.errors import HandshakeRefused, LinkClosed, WorkerFailed
from marl.exchanges.conversation import converse
from marl.links.memory import memory_pair
from marl.links.probe import MOST_BYTES
from marl.processes.group import ProcessGroup
from marl.reports.stream import Stream
from marl.training.schedule_length import schedule_length
from marl.training.worker_metrics import Telemetry
from marl.wire.hello import to_info
from marl.wire.message import Kind, Message
from tests.cluster.test_handshake import hello_of
from tests.exchanges.nodes import Clock, join, make_parent, weights
from tests.wire.test_hello import hello

WAIT_S = 10.0


class View:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    ("error", "said", "permanent"),
    [
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device", False),
        (MemoryError(), "MemoryError", False),
        (RuntimeError("two\nlines \x1b[2J"), "RuntimeError: two lines ?[2J", False),
        (WorkerFailed("no memory for that"), "no memory for that", True),
    ],
)
def test_what_there_is_no_room_for_is_refused_with_the_reason(
    error: Exception, said: str, permanent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*unused: Any, **unused_named: Any) -> None:
        raise error

    monkeypatch.setattr(contact.Contact, "_prepare", no_room)
    served: Any = Contact(
        None, None, name="a", workers=1, orphan_s=1.0, events=View(), fence=None, tend=None, turn_away=None  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(HandshakeRefused) as refused:
        served.serve(queue.Queue(), threading.Event())
    assert str(refused.value) == f"the child cannot take part: {said}"
    assert refused.value.permanent is permanent


def test_a_conversation_that_fails_says_why_to_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    parent = make_parent(weights(0.0), clock)
    above, below = memory_pair()
    above.limit(10**6)
    below.limit(10**6)
    (child,) = join(parent, clock, "a")

    def broken(message: Message) -> None:
        raise ValueError(f"what is a {message.kind}?")

    monkeypatch.setattr(contact, "accept", lambda *unused, **unused_named: None)
    monkeypatch.setattr(child.side, "accept", broken)
    candidate: Any = Candidate(below, None, "parent", 0.0)  # type: ignore[arg-type]
    conversation = _Conversation(candidate, child.side, None, threading.Event(), "a", lambda: "")  # type: ignore[arg-type]
    with pytest.raises(LinkClosed, match=r"the child ended the conversation: ValueError: what is a answer\?"):
        converse(above, "a", parent, threading.Event(), name="parent")
    conversation.join(WAIT_S)
    assert conversation.why == "ValueError: what is a answer?"


def test_a_child_that_joins_late_is_as_far_in_its_schedule_as_the_run(tmp_path: Path) -> None:
    """Half of two million minutes have passed, of which the test takes no part."""
    hello = hello_of(algorithm__schedule="linear", stop__minutes=2e6)
    above, below = memory_pair()
    above.send(Message(Kind.HELLO, "parent", info=to_info(msgspec.structs.replace(hello, elapsed_s=60e6))))
    child: Any = _Child(ChildSettings(), None, "a", tmp_path, Stream({}), threading.Event())  # type: ignore[arg-type]
    child._greet(below)
    candidate = child._candidates.get_nowait()
    offered = examine(candidate.hello, allow=(), workers=1)
    served: Any = Contact(
        offered, candidate, name="a", workers=1, orphan_s=1.0, events=View(), fence=None, tend=None, turn_away=None  # type: ignore[arg-type]
    )  # fmt: skip
    with ProcessGroup() as group:
        served._prepare(group)
    length = schedule_length(offered.config.algorithm, offered.config.stop)
    telemetry = Telemetry(served._node.block, 0, length, alone=False)
    assert telemetry.progress() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "goes_on"),
    [
        ({}, True),
        ({"term": 9, "instance": "new", "elapsed_s": 77.0}, True),
        ({"instance": "new", "deterministic": True}, True),
        ({"term": 9, "deterministic": True}, False),  # what was played since its checkpoint must not count
        ({"rank": 2}, False),
        ({"children": 5}, False),
        ({"algorithm": {"name": "a3c", "schedule_steps": 10}}, False),
    ],
)
def test_a_parent_that_comes_back_with_other_steps_or_another_order_is_obeyed(
    changes: dict[str, Any], goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence: Any = SimpleNamespace(check=lambda theirs: None)
    mine = hello(deterministic=changes.get("deterministic", False))
    served: Any = Contact(
        SimpleNamespace(hello=mine, _replace=lambda hello: SimpleNamespace(hello=hello)),  # type: ignore[arg-type]
        None, name="a", workers=1, orphan_s=1.0, events=View(), fence=fence, tend=None, turn_away=None,  # type: ignore[arg-type]
    )  # fmt: skip
    served._conversation = SimpleNamespace(close=lambda: None)
    told: list[float] = []
    served._node = SimpleNamespace(count_from=told.append)
    monkeypatch.setattr(served, "_converse", lambda candidate: None)
    candidate: Any = Candidate(SimpleNamespace(address="box:1"), hello(**changes), "parent", 7.0)  # type: ignore[arg-type]
    assert served._greet(candidate) is goes_on
    assert told == [7.0] * goes_on


def test_an_error_in_words() -> None:
    assert in_words(WorkerFailed("all died")) == "all died"
    assert in_words(KeyError("x")) == "KeyError: 'x'"
    assert in_words(MemoryError()) == "MemoryError"


def test_a_child_that_serves_a_run_is_measured_by_no_other_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only once that run is over."""
    child: Any = _Child(ChildSettings(), None, "a", tmp_path, Stream({}), threading.Event())  # type: ignore[arg-type]

    def answers() -> int:
        above, below = memory_pair()
        above.limit(MOST_BYTES)
        above.send(Message(Kind.PROBE, "parent"))
        above.send(Message(Kind.STOP, "parent"))
        child._greet(below)
        return below.bytes_sent

    class Served:
        def __init__(self, *unused: Any, **unused_named: Any) -> None: ...

        def serve(self, *unused: Any) -> str:
            return f"{answers()} bytes"

    ended: list[str] = []
    monkeypatch.setattr("marl.cluster.child.Contact", Served)
    monkeypatch.setattr(child._events, "on", lambda event: ended.append(event.reason))
    monkeypatch.setattr(child._events, "note", lambda line: None)
    child._serve(Candidate(memory_pair()[1], hello_of(), "parent", 0.0))
    assert ended == ["0 bytes"]
    assert answers() > 0
