"""What a round's uploads become: the next global weights, and with a codec that rounds, the very bits children hold.

Nothing here knows of children, threads or time; whoever owns a merger holds a lock while using it.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from marl.averaging.limits import NormClip
from marl.averaging.mean import Merge, RunningMean
from marl.averaging.outer_step import outer_step
from marl.averaging.robust import RobustMean
from marl.averaging.tiles import ChangeMeter
from marl.data.normalizer import as_slot, merge
from marl.errors import WeightsRefused
from marl.exchanges.base import Global
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.triggers import parse_trigger
from marl.wire.codec import CODECS, Codec
from marl.wire.compression import build_codec
from marl.wire.header import Header
from marl.wire.message import Message

# With codec "auto": the most of a round's time that a payload may travel.
TRANSFER_SHARE, MIN_PERIOD, USUAL_PERIOD = 0.1, 0.5, 5.0


# What a child may claim to have observed: so large numbers at most, so often a step, and so often beside.
MOST, SEEN_PER_STEP, SEEN_BESIDE = 1e30, 4, 1e6


class Merger:
    """Owns the global weights and all that their next version depends on."""

    def __init__(self, current: Global, settings: ExchangeSettings, note: Callable[[str], None]) -> None:
        size = current.weights.numel()
        self.current = current
        self.codec = "float32"  # of the next uploads
        self.velocity = torch.zeros(size) if settings.outer_momentum else None
        self.error: Tensor | None = None  # of what was sent down
        self._settings, self._note = settings, note
        self._codec: Codec | None = None
        self._decoded = torch.empty(0)
        self._meter = ChangeMeter()
        self._moments: dict[str, list[Tensor]] = {}  # of observations that no version counts yet, by child
        self._mean: Merge = RunningMean(size, NormClip(ratio=settings.clip))
        if settings.aggregate != "mean":
            self._mean = RobustMean(size, settings.aggregate)
            note(f"aggregate {settings.aggregate!r} keeps a copy of every upload: {4e-6 * size:,.1f} MB for each child")
        self._mean.begin(current.weights)
        if settings.codec != "auto":
            self._use_codec(settings.codec)

    @property
    def num_uploads(self) -> int:
        """Of the open round."""
        return self._mean.num_uploads

    def place(self, header: Header, buffer: Tensor) -> dict[str, Tensor]:
        """Where an upload's arrays go: weights, in full or rounded, into ``buffer``; statistics beside them."""
        wanted: dict[str, Tensor] = {}
        if self.current.slot is not None:
            wanted["moments"] = torch.empty_like(self.current.slot)
        if self._codec is not None and any(entry.name == "change" for entry in header.manifest):
            wanted["change"] = buffer[: self._codec.num_bytes(self.current.weights.numel())]
        else:
            wanted["weights"] = buffer.view(torch.float32)
        return wanted

    def add(self, child: str, upload: Message, work: float) -> None:
        """Add an upload to the round; one that raises has left no trace.

        Raises:
            WeightsRefused: it is not finite, or of another length.
        """
        moments = self.checked_moments(upload)
        numbers = self.uploaded(upload)
        self._mean.add(numbers, work, is_change="change" in upload.arrays)
        if moments is not None:
            self._moments.setdefault(child, []).append(moments)

    def uploaded(self, upload: Message) -> Tensor:
        """The numbers of an upload, weights or a change of them.

        Raises:
            WeightsRefused: they cannot be decoded.
        """
        if self._codec is None or "weights" in upload.arrays:
            return tensor_of(upload, "weights")
        self._codec.decode(tensor_of(upload, "change"), self._decoded)
        return self._decoded

    def checked_moments(self, upload: Message) -> Tensor | None:
        """Statistics of observations that came along; None where nothing is normalised.

        Raises:
            WeightsRefused: they are not finite, or impossible.
        """
        if self.current.slot is None:
            return None
        return checked_slot(upload, SEEN_PER_STEP * work_of(upload) + SEEN_BESIDE)

    def close(self, ranks: Mapping[str, int]) -> None:
        """End the round: the next version, unless there was no work, or it would not be usable; then a new round.

        Args:
            ranks: of children; sums in another order have other bits.
        """
        if self._mean.total_work:
            try:
                self._make_version(ranks)
            except WeightsRefused as error:
                self._note(f"a round makes no new weights, they would not be usable: {error}")
                if self.velocity is not None:
                    self.velocity.zero_()
        self._mean.begin(self.current.weights)

    def choose_codec(self, slowest: float) -> None:
        """With codec "auto", once: the least rounding that leaves most of a round's time to learning.

        Args:
            slowest: seconds that the slowest child needed for all weights.
        """
        if self._settings.codec != "auto":
            return
        trigger = parse_trigger(self._settings.every)
        period = max(MIN_PERIOD, trigger.amount) if trigger.unit == "second" else USUAL_PERIOD
        full = self.current.weights.nbytes
        for name in CODECS:
            share = 1.0 if name == "float32" else build_codec(name).num_bytes(full // 4) / full
            if slowest * share <= TRANSFER_SHARE * period or name == CODECS[-1]:
                self._use_codec(name)
                break
        self._note(f"weights travel as {self.codec}: the slowest child needed {slowest:.2f} s for {full:,} bytes")

    def _use_codec(self, name: str) -> None:
        self.codec = name
        if name != "float32":
            size = self.current.weights.numel()
            self._codec = build_codec(name)
            self.error, self._decoded = torch.zeros(size), torch.empty(size)

    def _make_version(self, ranks: Mapping[str, int]) -> None:
        before, settings = self.current, self._settings
        target = self._mean.mean(torch.empty_like(before.weights))
        outer_step(before.weights, target, self.velocity, lr=settings.outer_lr, momentum=settings.outer_momentum)
        self._meter.norm(target, before.weights)  # momentum may have thrown them out of range
        change = None
        if self._codec is not None and self.error is not None:
            difference = torch.sub(target, before.weights, out=self._decoded)
            change = torch.empty(self._codec.num_bytes(target.numel()), dtype=torch.uint8)
            self._codec.encode(difference, self.error, change, pending=self.error)
            self._codec.decode(change, target, base=before.weights)
        in_order = sorted(self._moments, key=lambda name: (ranks.get(name, 0), name))
        slot = folded(before.slot, [each for name in in_order for each in self._moments[name]])
        self._moments.clear()
        steps = before.steps + int(self._mean.total_work)
        self.current = Global(before.version + 1, target, slot, steps, change)


class MixingMerger(Merger):
    """Pairwise: every upload is merged at once, ``P = (1 - alpha) P + alpha C``."""

    def mix(self, upload: Message, work: float) -> None:
        """Move the global weights towards an upload: a new version.

        Raises:
            WeightsRefused: it is not finite, or of another length.
        """
        before = self.current
        moments, theirs = self.checked_moments(upload), self.uploaded(upload)
        self._meter.norm(theirs, before.weights)
        mixed = torch.lerp(before.weights, theirs, self._settings.alpha)
        slot = folded(before.slot, [] if moments is None else [moments])
        self.current = Global(before.version + 1, mixed, slot, before.steps + int(work), self._rounded(mixed))

    def _rounded(self, weights: Tensor) -> Tensor | None:
        """All of them, since there is no version that everybody holds."""
        if self._codec is None:
            return None
        rounded = torch.empty(self._codec.num_bytes(weights.numel()), dtype=torch.uint8)
        self._codec.encode(weights, None, rounded)
        return rounded


def folded(slot: Tensor | None, moments: list[Tensor]) -> Tensor | None:
    """The normaliser's statistics with those of uploads."""
    if slot is None or not moments:
        return slot
    return torch.from_numpy(as_slot(merge(np.stack([slot.numpy(), *(each.numpy() for each in moments)]))))


def work_of(upload: Message) -> int:
    """Environment steps that an upload claims.

    Raises:
        WeightsRefused: it claims something else.
    """
    work = upload.info.get("work")
    if not isinstance(work, int):
        raise WeightsRefused(f"expected a count of steps as work, got {work!r:.40}")
    return work


def tensor_of(message: Message, name: str) -> Tensor:
    """An array that was placed."""
    tensor = message.arrays[name]
    assert isinstance(tensor, Tensor)
    return tensor


def checked_slot(upload: Message, most: float) -> Tensor:
    """A copy of the statistics of observations that came along.

    Args:
        most: observations that they can be of. Resets are observed too, and a worker may have moved on while the rest
            was read.

    Raises:
        WeightsRefused: they are not finite, or impossible.
    """
    moments = tensor_of(upload, "moments").clone()
    size = (len(moments) - 1) // 2
    count, means, squares = float(moments[0]), moments[1 : 1 + size], moments[1 + size :]
    usable = bool(moments.isfinite().all()) and count >= 0 and not bool((squares < 0).any())
    # Such numbers, merged with others, are still finite; no environment has them.
    usable = usable and bool((means.abs() < MOST).all()) and bool((squares < MOST**2).all())
    if not usable or count > most:
        raise WeightsRefused(
            f"expected statistics of at most {most:g} observations, got {count:g} of them, "
            "or numbers that are not finite or beyond 1e30"
        )
    return moments
