"""How requests travel: of a stack of frames only the newest one, where the others are those that were sent before.

A message then has two arrays: the requests without their stacks, and the frames one behind another. Flags in a request
say which stacks follow from the one that its group sent last, and its header which question that was. So a worker that
is new, an episode that begins and a conversation that begins cost whole stacks, and nothing depends on what
environments promise: bytes are compared. Without stacks, requests travel as they are.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Layout, Leaf, Values, at, mapped
from marl.data.replay.stacks import shifted
from marl.data.requests import CLAIM, GROUP, NUM_LAST, PREVIOUS, QUESTION, WORKER, RequestLayout, Requests, check_header
from marl.data.sound import demand_sound
from marl.errors import MessageRefused
from marl.exchanges.observations.settings import PER_MESSAGE

NOW, LAST = range(2)  # of the flags: observations, last observations
SEEN = ("observations", "last_observations")

Array = npt.NDArray[Any]


def sent_layout(layout: RequestLayout) -> Layout:
    """What travels of a request beside its frames; the same layout where no leaf is a stack."""
    stacks = _stacks(layout, layout.new())
    if not stacks[NOW]:
        return layout
    without = {
        name: mapped(lambda leaf: leaf._replace(shape=(0,)) if leaf.frames else leaf, layout.tree[name])
        for name in SEEN
    }
    flags = Leaf((len(stacks[NOW]), 2, layout.num_environments), torch.uint8, (2,))
    return Layout({**layout.tree, **without, "follows": flags})


def most_bytes(layout: RequestLayout) -> int:
    """What travels of a request where no stack follows from one before."""
    sent = sent_layout(layout)
    return sent.num_bytes + (0 if sent is layout else _frame_bytes(layout))


class RequestSender:
    """The requests of a node's slots as they leave in one conversation."""

    def __init__(self, layout: RequestLayout, slots: int) -> None:
        self._layout, sent = layout, sent_layout(layout)
        self._copied = np.zeros((PER_MESSAGE, layout.num_bytes), np.uint8)
        self._opened = layout.open(self._copied)
        self._stacked = sent is not layout
        if self._stacked:
            self._sent = np.zeros((PER_MESSAGE, sent.num_bytes), np.uint8)
            self._sent_opened = sent.open(self._sent)
            stacks, _ = _stacks(layout, self._opened)
            self._before = [np.zeros((slots, *each.shape[1:]), np.uint8) for each in stacks]
        self._questions = np.zeros(slots, np.int64)  # whose stacks ``_before`` has; 0: none

    def forget(self) -> None:
        """A conversation begins: the other side knows nothing."""
        self._questions[:] = 0

    def copied(self, count: int) -> Array:
        """Where to put copies [K, num_bytes] of requests, before they are sent."""
        return self._copied[:count]

    def arrays(self, slots: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """A message with the copied requests of these slots [K], in memory that the next one overwrites."""
        count = len(slots)
        if not self._stacked:
            return {"requests": torch.from_numpy(self._copied[:count])}
        requests, sent = at(self._opened, slice(count)), at(self._sent_opened, slice(count))
        _put_all_but_stacks(self._layout, sent, requests)
        sent["header"][:, PREVIOUS] = self._questions[slots]
        sent["follows"][:] = 0
        stacks = _stacks(self._layout, requests)
        frames: list[Array] = []
        for request, slot in enumerate(slots.tolist()):
            index = requests["last_index"][request, : requests["header"][request, NUM_LAST]]
            for number, before in enumerate(self._before):
                now, last = (each[number][request] for each in stacks)
                for part, new, old in ((NOW, now, before[slot]), (LAST, last[: len(index)], before[slot][index])):
                    follows = shifted(old, new) & (self._questions[slot] > 0)
                    sent["follows"][request, number, part, : len(new)] = follows
                    frames += [new[follows, -1], new[~follows]]
                before[slot] = now
            self._questions[slot] = requests["header"][request, QUESTION]
        flat = np.concatenate([each.reshape(-1) for each in frames])
        return {"requests": torch.from_numpy(self._sent[:count]), "frames": torch.from_numpy(flat)}


class RequestReceiver:
    """The requests of one child as they arrive in one conversation."""

    def __init__(self, layout: RequestLayout) -> None:
        self._layout, self._sent = layout, sent_layout(layout)
        memory = torch.zeros(PER_MESSAGE, layout.num_bytes, dtype=torch.uint8)
        self._requests = layout.open(memory.numpy())
        self._stacked = self._sent is not layout
        self._arriving = memory
        if self._stacked:
            self._frame_bytes = _frame_bytes(layout)
            self._arriving = torch.zeros(PER_MESSAGE, self._sent.num_bytes, dtype=torch.uint8)
            self._opened = self._sent.open(self._arriving.numpy())
            self._frames = torch.zeros(PER_MESSAGE * self._frame_bytes, dtype=torch.uint8)
        self._before: dict[tuple[int, int], tuple[int, list[Array]]] = {}  # by worker and group: question and stacks

    def tensors(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Where a message with arrays of these shapes arrives.

        Raises:
            MessageRefused: no message has such arrays.
        """
        count = next(iter(shapes.get("requests", ())), 0)
        if not 1 <= count <= PER_MESSAGE:
            raise MessageRefused(f"expected 1 to {PER_MESSAGE} requests, got {count}")
        found = {"requests": self._arriving[:count]}
        if self._stacked:
            size = next(iter(shapes.get("frames", ())), 0)
            if size > count * self._frame_bytes:
                raise MessageRefused(f"expected at most {count * self._frame_bytes} bytes of frames, got {size}")
            found["frames"] = self._frames[:size]
        return found

    def headers(self, count: int) -> Array:
        """Headers [K, 8] of the requests that have arrived."""
        headers: Array = (self._opened if self._stacked else self._requests)["header"][:count]
        return headers

    def whole(self, count: int, size: int) -> Requests:
        """The requests that have arrived with ``size`` bytes of frames, in memory that the next message overwrites.

        Raises:
            MessageRefused: the frames do not fit what was sent before.
        """
        requests: Requests = at(self._requests, slice(count))
        if not self._stacked:
            return requests
        sent = at(self._opened, slice(count))
        check_header(sent, self._layout)
        demand_sound(self._sent.tree["follows"], sent["follows"], CLAIM)
        _put_all_but_stacks(self._layout, requests, sent)
        stacks, frames, end = _stacks(self._layout, requests), self._frames.numpy()[:size], 0

        def take(place: Array) -> Array:
            nonlocal end
            start, end = end, end + place.size
            if end > size:
                raise MessageRefused(f"expected at least {end} bytes of frames, got {size}")
            return frames[start:end].reshape(place.shape)

        for request, header in enumerate(sent["header"].tolist()):
            place = header[WORKER], header[GROUP]
            question, before = self._before.get(place, (0, []))
            index = sent["last_index"][request, : header[NUM_LAST]]
            flags = sent["follows"][request].astype(bool)
            if flags.any() and not question == header[PREVIOUS] > 0:
                raise MessageRefused(f"expected frames that follow question {question}, got {header[PREVIOUS]}")
            for number, (now, last) in enumerate(zip(*stacks, strict=True)):
                for part, new, of in ((NOW, now[request], slice(None)), (LAST, last[request, : len(index)], index)):
                    follows = flags[number, part, : len(new)]
                    if follows.any():
                        new[follows, :-1] = before[number][of][follows, 1:]
                        new[follows, -1] = take(new[follows, -1])
                    new[~follows] = take(new[~follows])
            self._before[place] = header[QUESTION], [each[request].copy() for each in stacks[NOW]]
        if end != size:
            raise MessageRefused(f"expected {end} bytes of frames, got {size}")
        return requests


def _stacks(layout: RequestLayout, requests: Values) -> tuple[list[Array], list[Array]]:
    """The bytes [..., B, k, F] of each leaf that is a stack, of observations and of last ones; views."""
    found: tuple[list[Array], list[Array]] = ([], [])
    for name, views in zip(SEEN, found, strict=True):

        def add(leaf: Leaf, each: Array, views: list[Array] = views) -> None:
            if leaf.frames:
                rows = each.reshape(*each.shape[: each.ndim - len(leaf.shape) + 1], leaf.frames, -1)
                views.append(rows.view(np.uint8))

        mapped(add, layout.tree[name], requests[name])
    return found


def _frame_bytes(layout: RequestLayout) -> int:
    """Of all stacks of a request."""
    return sum(each.size for stacks in _stacks(layout, layout.new()) for each in stacks)


def _put_all_but_stacks(layout: RequestLayout, places: Values, values: Values) -> None:
    def copy(leaf: Leaf, place: Array, value: Array) -> None:
        if not leaf.frames:
            place[...] = value

    for name, tree in layout.tree.items():
        mapped(copy, tree, places[name], values[name])
