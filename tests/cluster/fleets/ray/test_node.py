"""The actor on a node, as an object of this process: the child that it keeps is a real process."""

import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from marl import __version__
from marl.cluster.fleets.ray.node import NAME, NodeActor
from marl.errors import ConfigError

PATIENCE_S = 20.0


def lives_until_told(pipe: Connection) -> None:
    pipe.send("it lives")
    pipe.recv()


@pytest.fixture
def actor() -> Iterator[NodeActor]:
    made = NodeActor("a key", 1, __version__)
    made._starts = 1
    made._group.start(NAME, lives_until_told)
    assert made._group.receive(NAME, PATIENCE_S) == "it lives"
    yield made
    made.leave()


def watching(actor: NodeActor, start: int, answers: list[str]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(actor.watch(start)))
    thread.start()
    return thread


def test_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"expected marl 99.0 on each node, as at the parent, got {__version__} here"):
        NodeActor("a key", 1, "99.0")


def test_all_who_watch_hear_why_it_ended(actor: NodeActor) -> None:
    """The answer to the first may have been lost with its connection."""
    answers: list[str] = []
    threads = [watching(actor, 1, answers) for _ in range(2)]
    actor._group.members[NAME].process.kill()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(answers) == 2
    assert len(set(answers)) == 1
    assert "kill" in answers[0].lower()
    assert actor.watch(1) == answers[0]


def test_who_watches_one_that_was_replaced_is_told_so(actor: NodeActor) -> None:
    answers: list[str] = []
    thread = watching(actor, 1, answers)
    actor.leave()
    thread.join(PATIENCE_S)
    assert answers == ["it was told to leave"]
