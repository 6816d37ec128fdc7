"""The observations exchange: what is damaged or cannot be is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.errors import LinkClosed, MessageRefused
from marl.exchanges.observations.settings import PER_MESSAGE
from marl.wire.message import Kind, Message
from tests.exchanges.nodes import carried
from tests.exchanges.observers import (
    ENVIRONMENTS,
    EVERYBODY,
    Blind,
    Child,
    Parent,
    joined,
    layout,
    turn,
)


def test_a_worker_that_the_child_has_not_got_is_refused() -> None:
    """Each would cost the parent memory."""
    parent, child = Parent(), Child(workers=3)
    parent.side.assign_rank(child.name, 0, 2)
    parent.join(child)
    child.ask(2, 0, 0.5, first=True)
    (upload,) = child.uploads()
    with pytest.raises(LinkClosed, match="expected one of 2 workers, got number 2"):
        parent.answer(upload)


def test_damaged_actions_are_asked_for_again() -> None:
    parent, child = joined()
    for number, (worker, group) in enumerate(EVERYBODY[:2]):
        child.ask(worker, group, float(number), first=True)
        if number == 0:
            (damaged,) = child.uploads()
    (whole,) = child.uploads()
    first, second = parent.answer(damaged), parent.answer(whole)
    assert first is not None
    carried(first.message, child.side.receive_buffers)
    child.side.rejected("the hash differs")
    child.take(second)  # which is not mistaken for the first
    assert (child.answered(0, 0), child.answered(0, 1)) == (None, [1] * ENVIRONMENTS)
    turn(parent, child)
    assert child.answered(0, 0) == [0] * ENVIRONMENTS
    assert child.notes == ["actions cannot be used: the hash differs"]


def test_other_messages_that_are_damaged_cost_no_question() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (upload,) = child.uploads()
    with pytest.raises(MessageRefused):
        carried(Message(Kind.FLUSH, "parent", arrays={"more": torch.zeros(3)}), child.side.receive_buffers)
    child.side.rejected("expected no arrays")
    assert child.uploads() == []
    child.take(parent.answer(upload))
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


def put(child: Child, name: str, value: Any) -> Message:
    (upload,) = child.uploads()
    memory = upload.arrays["requests"]
    assert isinstance(memory, Tensor)
    layout().open(memory.numpy())[name][0] = value
    return upload


HEADERS = [
    [-1, 0, 1, 1, 0, 0, 0, 0],
    [0, 2, 1, 1, 0, 0, 0, 0],
    [0, 0, -1, 1, 0, 0, 0, 0],
    [0, 0, 1, 1, ENVIRONMENTS + 1, 0, 0, 0],
    [0, 0, 1, 1, -1, 0, 0, 0],
    [2**40, 0, 1, 1, 0, 0, 0, 0],
    [0, 1, 1, 1, 0, 0, 0, 0],  # the place of the other request in the message
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("header", header) for header in HEADERS),
        ("ends", 2),
        ("observations", np.nan),
        ("rewards", np.inf),
    ],
    ids=str,
)
def test_nonsense_ends_the_conversation_but_not_the_run(name: str, value: Any) -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    child.ask(0, 1, 1.0, first=True)
    with pytest.raises(LinkClosed, match="observations of child cannot be used"):
        parent.answer(put(child, name, value))
    assert parent.side.refused == 1
    assert parent.side._workspaces[child.name].streams == {}
    parent.side.leave(child.name)
    child.side.joined()
    parent.join(child)  # it may try again
    turn(parent, child)
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


@pytest.mark.parametrize(("index", "last"), [(-1, 0.0), (ENVIRONMENTS, 0.0), (0, np.nan)])
def test_nonsense_about_cut_episodes_is_refused(index: int, last: float) -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True, last_index=index, last_observations=last)
    with pytest.raises(LinkClosed, match="cannot be used"):
        parent.answer(put(child, "header", [0, 0, 1, 1, 1, 0, 0, 0]))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"requests": torch.zeros(0, 8, dtype=torch.uint8)},
        {"requests": torch.zeros(1, 8, dtype=torch.uint8)},
        {"requests": torch.zeros(PER_MESSAGE + 1, 8, dtype=torch.uint8)},
        {"trajectory0": torch.zeros(4)},
    ],
    ids=str,
)
def test_uploads_of_another_shape_get_no_memory(arrays: dict[str, Tensor]) -> None:
    parent, child = joined()
    with pytest.raises(MessageRefused):
        carried(
            Message(Kind.UPLOAD, child.name, arrays=arrays),
            lambda header: parent.side.receive_buffers(child.name, header),
        )
    with pytest.raises(LinkClosed):  # it would wait for ever for what it asked
        parent.side.rejected(child.name, "expected 1 to 64 requests")


def test_a_report_that_is_damaged_costs_only_itself() -> None:
    parent, child = joined()
    with pytest.raises(MessageRefused):
        carried(
            Message(Kind.TELEMETRY, child.name, arrays={"steps": torch.zeros(3)}),
            lambda header: parent.side.receive_buffers(child.name, header),
        )
    assert parent.side.rejected(child.name, "expected steps") is None


def test_a_network_that_breaks_tells_whoever_asked() -> None:
    class Broken(Blind):
        def policy(self, observations: Tensor) -> Tensor:
            raise ValueError("the network broke")

    parent, child = joined(network=Broken())
    child.ask(0, 0, 0.0, first=True)
    (upload,) = child.uploads()
    for _ in range(2):  # and is asked again
        with pytest.raises(ValueError, match="the network broke"):
            parent.answer(upload)


@pytest.mark.parametrize("error", [ValueError("the lens is dirty"), SystemExit(0)])
@pytest.mark.parametrize("where", ["sampler", "network", "priorities"])
def test_an_error_of_the_parents_own_code_ends_the_run(where: str, error: BaseException) -> None:
    """Another conversation with the child would end in the same way."""

    def fails(*unused: object) -> Any:
        raise error

    parent, child = joined(length=1)
    if where != "network":
        parent.side._places = parent.side._places._replace(**{where: fails})
    else:
        parent.batcher._serve = fails
    child.ask(0, 0, 0.5, first=True)
    if where == "priorities":  # of the first trajectory
        turn(parent, child)
        child.ask(0, 0, 0.5)
    with pytest.raises(type(error)) as raised:
        turn(parent, child)
    assert parent.side.failure is raised.value is error
