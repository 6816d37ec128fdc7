"""A wire that flips bits: what a proxy does to the pieces that pass."""

import random

SPARED_BYTES = 8 * 1024  # of each connection and way: the first words may pass
SHARE = 1 / 300_000  # of the bytes after them


class Flips:
    """Flips a bit now and then, and counts."""

    def __init__(self, seed: int) -> None:
        self.count = 0
        self._random = random.Random(seed)

    def __call__(self, piece: bytearray, passed: int) -> None:
        """Perhaps damage a piece, after so many bytes of its connection and way."""
        if passed > SPARED_BYTES and self._random.random() < SHARE * len(piece):
            piece[self._random.randrange(len(piece))] ^= 1 << self._random.randrange(8)
            self.count += 1
