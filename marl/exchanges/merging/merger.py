"""Turns a round's uploads into the next global weights. A codec that rounds also changes the parent's weights, so that
parent and children hold the same bits.

Nothing here knows of threads or time; the owner of a merger holds a lock while it uses it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from marl.averaging.directions import Directions
from marl.averaging.mean import Accepted, Merge, RunningMean
from marl.averaging.reach import Reach
from marl.averaging.robust import RobustMean
from marl.averaging.tiles import DeltaMeter
from marl.averaging.vetting import Sent, Vetting
from marl.digests import begin_name
from marl.errors import WeightsRefused
from marl.exchanges.merging.claims import work_of
from marl.exchanges.merging.fast_codec import fast_enough
from marl.exchanges.merging.moments import NAME as MOMENTS
from marl.exchanges.merging.moments import MergedMoments
from marl.exchanges.merging.outer import Outer
from marl.exchanges.merging.parts import Parts
from marl.exchanges.observation_statistics import SEEN_PER_STEP, Observed, Vetted, together
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Global
from marl.exchanges.triggers import parse_trigger
from marl.training.saved.weights_file import copy_exactly
from marl.wire.arrays import bytes_of
from marl.wire.codec import Codec
from marl.wire.compression import build_codec
from marl.wire.header import Header
from marl.wire.message import Message, tensor_of


class Merged(NamedTuple):
    """What became of an upload."""

    work: float  # environment steps that it is believed to hold
    weight: float  # that it has in the round's mean
    factor: float  # its delta was multiplied by this; below 1: clipped


class Merger:
    """Owns the global weights and all that their next version depends on."""

    def __init__(
        self,
        current: Global,
        settings: ExchangeSettings,
        note: Callable[[str], None],
        *,
        observed: Observed | None = None,
        reach: Reach | None = None,
        seen_beside: float = 0.0,
        moments: MergedMoments | None = None,
    ) -> None:
        """
        Args:
            observed: owns the normaliser's statistics; None: nothing is normalised.
            reach: how far learning can move the weights; None: not known.
            seen_beside: observations per worker that an upload may contain before it counts their steps.
            moments: averages those of the children's optimizers; None: they are not averaged.
        """
        size = current.weights.numel()
        self.current, self.parts = current, Parts(size, settings.parts)
        self.codec = "float32"  # of the next uploads
        self.outer, self.moments = Outer(settings, size), moments
        self.error: Tensor | None = None  # rounding error of the last broadcast
        unit = parse_trigger(settings.every).unit
        late = seen_beside if unit == "update" else 0.0  # then uploads come while a trajectory is learned
        self.vetting = Vetting(current.weights, settings.clip, reach, late=late, parts=settings.parts)
        self._settings, self._note = settings, note
        self._observed, self._seen_beside = observed, seen_beside
        self._codec: Codec | None = None
        self._decoded = torch.empty(0)
        self._meter = DeltaMeter()
        self.directions = Directions(size, reach.trajectory() if unit in ("update", "step") and reach else 0.0)
        self._statistics: dict[str, Tensor] = {}  # of observations that are in no version yet, by child
        self._means: dict[int, Merge] = {}  # by the number of weights: parts differ by one
        if settings.aggregate != "mean":
            note(f"aggregate {settings.aggregate!r} keeps a copy of every upload: {4e-6 * size:,.1f} MB for each child")
        self._begin()
        if settings.codec != "auto":
            self._use_codec(settings.codec)

    def _begin(self) -> None:
        """A round begins."""
        version = self.current.version
        self._part, self.vetting.part = self.parts.of(version), version % self.parts.count
        self._mean = self._mean_of(self.parts.length(version))
        self._mean.begin(self.current.weights[self._part])
        if self.moments is not None:
            self.moments.begin()
        self._idle = 0  # uploads without work or without learning: they do not enter the mean
        self._steps = 0.0

    def _mean_of(self, size: int) -> Merge:
        if size not in self._means:
            robust = self._settings.aggregate != "mean"
            self._means[size] = RobustMean(size, self._settings.aggregate) if robust else RunningMean(size)
        return self._means[size]

    @property
    def num_uploads(self) -> int:
        """How many uploads the open round has."""
        return self._mean.num_uploads + self._idle

    def receive_tensors(self, header: Header, buffer: Tensor) -> dict[str, Tensor]:
        """Where an upload's arrays go: weights, in full or rounded, into ``buffer``; statistics beside them."""
        wanted: dict[str, Tensor] = {}
        if self.moments is not None:
            wanted[MOMENTS] = self.moments.receive_tensor(buffer)
        if self.current.statistics is not None:
            wanted["moments"] = torch.empty_like(self.current.statistics)
        if self._codec is not None and any(entry.name == "change" for entry in header.manifest):
            wanted["change"] = buffer[: self._codec.num_bytes(self.parts.length(header.version))]
        else:
            numbers = buffer[: self.current.weights.nbytes].view(torch.float32)
            wanted["weights"] = numbers[: self.parts.length(header.version)]
        return wanted

    def add(self, upload: Message, sent: Sent) -> Merged:
        """Merge an upload within the limits. An upload that is refused changes nothing.

        Raises:
            WeightsRefused: it is not finite, of another length, or claims something impossible.
        """
        work = self.vetting.work(work_of(upload), sent)
        vetted = (
            None
            if self._observed is None
            else self._observed.vet(
                sent.child, tensor_of(upload, "moments"), SEEN_PER_STEP * work + self._seen_beside * sent.workers
            )
        )
        moments = None if self.moments is None else self.moments.check(upload)
        numbers, is_delta = self.uploaded(upload), "change" in upload.arrays
        agrees = self.directions.agrees(sent.child)
        counts = self.vetting.weight(sent.child, work, agrees=agrees)
        learned, weight, seconds = self.vetting.since(sent, work, counts, agrees=agrees)
        if not learned:
            self._meter.norm(numbers)
            self._idle += 1
            self._remember(sent, work, counts, vetted)
            return Merged(0.0, 0.0, 1.0)
        accepted = self._put(numbers, learned, weight, sent._replace(elapsed_s=seconds), is_delta=is_delta)
        # The upload is accepted. Remember it only now: a refused upload must change nothing.
        self._compare(sent.child, numbers, work / sent.workers, is_delta=is_delta)
        self._remember(sent, work, counts, vetted)
        self._steps += work
        if not accepted.factor:
            self._idle += 1
            return Merged(work, 0.0, 1.0)
        if self.moments is not None and moments is not None:
            self.moments.add(sent.child, moments, weight)
        self._added()
        return Merged(work, weight, accepted.factor)

    def _remember(self, sent: Sent, work: float, counts: float, vetted: Vetted | None) -> None:
        self.vetting.remember(sent, work, counts)
        if self._observed is None or vetted is None:
            return
        self._observed.remember(sent.child, vetted)
        before = self._statistics.get(sent.child)  # of its earlier uploads since the last version
        self._statistics[sent.child] = (
            vetted.row if before is None else torch.from_numpy(together(before.numpy(), vetted.row.numpy()))
        )

    def _put(self, numbers: Tensor, work: float, weight: float, sent: Sent, *, is_delta: bool) -> Accepted:
        """Add an upload to the round's mean, within the limits of length."""
        shorten = self.vetting.shorten(sent, work, weight)

        def factor(norm: float) -> float:
            return 0.0 if self.vetting.is_nothing(sent.child, norm, weight) else shorten(norm)

        return self._mean.add(numbers, weight, is_delta=is_delta, shorten=factor)

    def _compare(self, child: str, numbers: Tensor, steps: float, *, is_delta: bool) -> None:
        """Note in which direction a delta goes; ``steps``: of each worker."""
        sample = self.directions.sample(numbers)
        base = self.directions.sample(self.current.weights[self._part])
        self.directions.add(child, sample.clone() if is_delta else sample - base, steps)

    def go_back(self, to: Global) -> None:
        """Make the weights of an earlier version the newest ones. All children then receive full weights."""
        statistics, steps = self.current.statistics, self.current.steps
        self.current = Global(self.current.version + 1, to.weights, statistics, steps, moments=to.moments)
        self.outer.forget()
        if self.error is not None:
            self.error.zero_()
        if self.moments is not None:
            self.moments.current = to.moments
        self.directions.forget()
        self._statistics.clear()
        self._begin()

    def _added(self) -> None:
        """An upload was put in: the round goes on."""

    def uploaded(self, upload: Message) -> Tensor:
        """The numbers of an upload, weights or a delta of them.

        Raises:
            WeightsRefused: they cannot be decoded.
        """
        if self._codec is None or "weights" in upload.arrays:
            return tensor_of(upload, "weights")
        decoded = self._decoded[: self.parts.length(upload.version)]
        self._codec.decode(tensor_of(upload, "change"), decoded)
        return decoded

    def close(self, ranks: Mapping[str, int]) -> None:
        """End the round and begin a new one. The old one makes a version if it has work and its weights are usable.

        Args:
            ranks: of children; sums in another order have other bits.
        """
        self.directions.compare_all()
        if self._steps:
            try:
                self._make_version(ranks)
            except WeightsRefused as error:
                self._note(f"a round makes no new weights, they would not be usable: {error}")
                self.outer.forget()
        self._begin()

    def choose_codec(self, slowest: float) -> None:
        """With codec "auto", choose the first of ``CODECS`` whose transfers are short enough; else the last one.

        Args:
            slowest: seconds that the slowest child needed for all weights.
        """
        if self._settings.codec != "auto":
            return
        full = self.current.weights.nbytes
        self._use_codec(fast_enough(full, slowest, self._settings.every))
        self._note(f"weights travel as {self.codec}: the slowest child needed {slowest:.2f} s for {full:,} bytes")

    def _use_codec(self, name: str) -> None:
        self.codec = name
        if name != "float32":
            size = self.current.weights.numel()
            self._codec = build_codec(name)
            self.error, self._decoded = torch.zeros(size), torch.empty(size)

    def _make_version(self, ranks: Mapping[str, int]) -> None:
        before, part = self.current, self._part
        weights = torch.empty_like(before.weights)
        self.parts.fill(before.version, weights, before.weights)
        base, target = before.weights[part], weights[part]
        if self._mean.total_work:
            self._mean.mean(target)
        else:
            target.copy_(base)  # steps without learning, such as those that fill a replay
        self.outer.step(base, target, part)
        self._meter.norm(target, base)  # momentum may have thrown them out of range
        delta = name = None
        if self._codec is not None and self.error is not None:
            error, size = self.error[part], target.numel()
            difference = torch.sub(target, base, out=self._decoded[:size])
            delta = torch.empty(self._codec.num_bytes(size), dtype=torch.uint8)
            self._codec.encode(difference, error, delta, pending=error)
            self._codec.decode(delta, target, base=base)
            name = begin_name(bytes_of(target))
        elif self.parts.count > 1:
            delta = target
        steps = before.steps + int(self._steps)
        moments = None if self.moments is None else self.moments.close()
        self.current = Global(before.version + 1, weights, self._folded(ranks), steps, delta, name, moments=moments)

    def saved(self) -> dict[str, Tensor]:
        """For a checkpoint: what weights, velocity and error do not say."""
        return self.outer.saved() | ({} if self.moments is None else self.moments.saved())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint.

        Raises:
            WeightsFileError: a tensor cannot be used.
        """
        self.outer.restore(tensors)
        if self.error is not None and "error" in tensors:
            copy_exactly(self.error, tensors["error"], "the checkpoint's error")
        if self.moments is not None:
            self.moments.restore(tensors)
            self.current = self.current._replace(moments=self.moments.current)

    def _folded(self, ranks: Mapping[str, int]) -> Tensor | None:
        """Fold the statistics of uploads into the normaliser's, and drop them. Returns the result."""
        if self._observed is None:
            return None
        in_order = sorted(self._statistics, key=lambda name: (ranks.get(name, 0), name))
        statistics = self._observed.fold([self._statistics[name] for name in in_order])
        self._statistics.clear()
        return statistics
