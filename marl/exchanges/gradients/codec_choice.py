"""Codec "auto": the first rounds travel in float32 and are timed."""

import statistics

from marl.wire.codec import CODECS
from marl.wire.compression import build_codec

TRANSFER_SHARE = 0.1  # of a round, that its two transfers may take
LEAST_ROUNDS = 16  # that are timed


class CodecChoice:
    """Chooses the first of ``CODECS`` whose transfers take a small share of a round; else the last one."""

    def __init__(self, size: int, rounds: int) -> None:
        """
        Args:
            size: numbers of a gradient.
            rounds: of one trajectory: at least as many are timed, because a trajectory is played between two of them.
        """
        self.why = ""
        self._size, self._rounds = size, max(rounds, LEAST_ROUNDS)
        self._began: float | None = None
        self._slowest, self._transfers = 0.0, list[float]()

    def arrived(self, seconds: float) -> None:
        """The part of one child has arrived, in so many seconds."""
        self._slowest = max(self._slowest, seconds)

    def end_round(self, now: float) -> str | None:
        """A round of gradients is over. Returns the codec once it is known."""
        slowest, self._slowest = self._slowest, 0.0
        if self._began is None:  # the time before it is not that of a round
            self._began = now
            return None
        self._transfers.append(slowest)
        if len(self._transfers) < self._rounds:
            return None
        return self._choose(statistics.median(self._transfers), (now - self._began) / self._rounds)

    def _choose(self, transfer: float, period: float) -> str:
        full = 4 * self._size
        self.why = f"the slowest child needed {transfer:.2g} s for {full:,} bytes, a round {period:.2g} s"
        beside = max(0.0, period - 2 * transfer)
        for name in CODECS:
            both = 2 * transfer * build_codec(name).num_bytes(self._size) / full
            if both <= TRANSFER_SHARE * (beside + both):
                return name
        return CODECS[-1]
