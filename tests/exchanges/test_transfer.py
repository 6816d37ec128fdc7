"""Requests whose observations are stacks of frames: a step sends one frame, and what comes out is what went in."""

from typing import Any

import numpy as np
import pytest
import torch

from marl.data.layout import Leaf, at, leaves
from marl.data.requests import NUM_LAST, RequestLayout
from marl.environments.settings import EnvironmentSettings
from marl.errors import MessageRefused
from marl.exchanges.observations.exchange import Observations
from marl.exchanges.observations.transfer import RequestReceiver, RequestSender, most_bytes
from marl.exchanges.run import RunSettings
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import buffers_of
from tests.exchanges.nodes import carried
from tests.plain_spaces import plain_spaces

DEPTH, FRAME, COUNT, ACTION = 4, 60, 3, Leaf((), torch.int64)
STACK = Leaf((DEPTH * FRAME,), torch.uint8, frames=DEPTH)
BESIDE = {"felt": Leaf((2,), torch.float32), "seen": STACK, "wide": Leaf((3 * 5,), torch.float32, frames=3)}
PLACES = [(worker, group) for worker in range(2) for group in range(2)]


class Played:
    """Groups of environments, of which each step ends a few episodes, and cuts a few."""

    def __init__(self, layout: RequestLayout, rng: np.random.Generator, ends: float = 0.1) -> None:
        self._layout, self._rng, self._ends = layout, rng, ends
        self.groups = [layout.new() for _ in PLACES]
        self._asked = 0

    def step(self, slot: int) -> Any:
        """The group's next request."""
        request, rng = self.groups[slot], self._rng
        first, self._asked = not request["header"].any(), self._asked + 1
        ended = rng.random(COUNT) < (1 if first else self._ends)
        cut = np.flatnonzero(ended & (rng.random(COUNT) < 0.5))[: 0 if first else COUNT]
        request["header"][:] = *PLACES[slot], self._asked, first, len(cut), 0, 0, 0
        request["rewards"][:], request["last_index"][: len(cut)] = rng.random(COUNT), cut
        tree = self._layout.tree["observations"]
        for leaf, now, last in zip(
            *map(leaves, (tree, request["observations"], request["last_observations"])), strict=True
        ):
            depth = leaf.frames or 1
            stacks = now.reshape(COUNT, depth, -1)
            follow = np.concatenate([stacks[:, 1:], self._new(stacks[:, :1])], axis=1)
            last[: len(cut)] = follow.reshape(COUNT, -1)[cut]
            stacks[~ended] = follow[~ended]
            stacks[ended] = self._new(stacks[ended])
        return request

    def _new(self, like: np.ndarray) -> Any:
        return self._rng.integers(0, 256, like.shape).astype(like.dtype)


class Conversation:
    """Both ends, and a link between them."""

    def __init__(self, observation: Any = STACK) -> None:
        self.layout = RequestLayout(environments=COUNT, observation=observation, action=ACTION)
        self.sender = RequestSender(self.layout, len(PLACES))
        self.receiver = RequestReceiver(self.layout)
        self.num_bytes = 0

    def send(self, played: dict[int, Any], **damaged: torch.Tensor) -> Any:
        """Requests by slot; as they arrive."""
        slots = np.array(list(played))
        opened = self.layout.open(self.sender.copied(len(slots)))
        for number, request in enumerate(played.values()):
            for place, value in zip(leaves(at_each(opened, number)), leaves(request), strict=True):
                place[...] = value
        message = Message(Kind.UPLOAD, "child", arrays={**self.sender.arrays(slots), **damaged})
        self.num_bytes = sum(each.numel() for each in message.arrays.values())  # type: ignore[union-attr]

        def buffers(header: Any) -> Any:
            return buffers_of(self.receiver.tensors({entry.name: entry.shape for entry in header.manifest}))(header)

        came = carried(message, buffers)
        return self.receiver.whole(len(slots), len(came.arrays.get("frames", ())))


def at_each(requests: Any, number: int) -> Any:
    return {name: at(value, number) for name, value in requests.items()}


def assert_same(went: Any, came: Any) -> None:
    assert went["header"][:5].tolist() == came["header"][:5].tolist()
    num_last = int(went["header"][NUM_LAST])
    for name in ("observations", "rewards", "ends"):
        for one, other in zip(leaves(went[name]), leaves(came[name]), strict=True):
            assert one.tobytes() == other.tobytes(), name
    for name in ("last_observations", "last_index"):
        for one, other in zip(leaves(went[name]), leaves(came[name]), strict=True):
            assert one[:num_last].tobytes() == other[:num_last].tobytes(), name


@pytest.mark.parametrize("observation", [STACK, BESIDE, Leaf((5,), torch.float32)], ids=["alone", "beside", "none"])
def test_what_goes_in_comes_out(observation: Any) -> None:
    both, rng = Conversation(observation), np.random.default_rng(1)
    played = Played(both.layout, rng)
    for step in range(60):
        chosen = rng.permutation(len(PLACES))[: rng.integers(1, len(PLACES) + 1)]
        went = {int(slot): played.step(slot) for slot in chosen}
        if step == 30:  # a new conversation
            both.sender.forget()
            both.receiver = RequestReceiver(both.layout)
        came = both.send(went)
        for number, request in enumerate(went.values()):
            assert_same(request, at_each(came, number))


def test_a_step_sends_one_frame() -> None:
    both = Conversation()
    played = Played(both.layout, np.random.default_rng(2), ends=0.0)
    whole = most_bytes(both.layout) - 2 * COUNT * DEPTH * FRAME  # of a request without frames
    both.send({0: played.step(0)})
    assert both.num_bytes == whole + COUNT * DEPTH * FRAME
    both.send({0: played.step(0)})
    assert both.num_bytes == whole + COUNT * FRAME
    played.groups[0]["observations"][1] = 7  # an episode begins with frames of its own
    went = played.groups[0]
    both.send({0: went})
    assert both.num_bytes == whole + COUNT * DEPTH * FRAME  # the two others stand still, and do not follow
    played._ends = 1.0
    went = played.step(0)
    num_last = int(went["header"][NUM_LAST])
    both.send({0: went})
    assert (
        both.num_bytes == whole + COUNT * DEPTH * FRAME + num_last * FRAME
    )  # the last observation of an episode follows
    assert num_last


def test_frames_that_follow_something_else_are_refused() -> None:
    both = Conversation()
    played = Played(both.layout, np.random.default_rng(3), ends=0.0)
    both.send({0: played.step(0)})
    both.receiver = RequestReceiver(both.layout)  # which has seen nothing
    with pytest.raises(MessageRefused, match="expected frames that follow question 0, got 1"):
        both.send({0: played.step(0)})


@pytest.mark.parametrize("size", [0, COUNT * FRAME - 1, COUNT * FRAME + 1, 2 * COUNT * DEPTH * FRAME + 1])
def test_more_or_fewer_frames_than_said_are_refused(size: int) -> None:
    both = Conversation()
    played = Played(both.layout, np.random.default_rng(4), ends=0.0)
    both.send({0: played.step(0)})
    with pytest.raises(MessageRefused, match="bytes of frames"):
        both.send({0: played.step(0)}, frames=torch.zeros(size, dtype=torch.uint8))


def test_flags_that_are_none_are_refused() -> None:
    both = Conversation()
    request = Played(both.layout, np.random.default_rng(5)).step(0)
    both.send({0: request})
    requests = both.sender.arrays(np.array([0]))["requests"].clone()
    both.receiver._sent.open(requests.numpy())["follows"][0] = 2
    with pytest.raises(MessageRefused, match="follows outside"):
        both.send({0: request}, requests=requests)


def test_nodes_that_send_stacks_whole_are_told_apart() -> None:
    """The fingerprint has the layout of what travels."""
    run, spaces = RunSettings(environment=EnvironmentSettings(per_worker=2)), plain_spaces((4, 8, 8), num_actions=2)
    stacked = spaces._replace(observations=spaces.observations._replace(dtype="uint8", frames=4))
    headers = {
        name: Observations().payload(run, each, torch.nn.Identity()).header
        for name, each in {"plain": spaces, "stacked": stacked}.items()
    }
    assert any("follows" in name for name, _, _ in headers["stacked"])
    assert headers["plain"] == Observations().requests(run, spaces).header
