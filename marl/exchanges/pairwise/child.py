"""The pairwise exchange at a child: each broadcast moves its weights part of the way to the parent's."""

import torch

from marl.exchanges.weights.child import WeightsChild
from marl.wire.message import Array, Message


class PairwiseChild(WeightsChild):
    """See ``ChildSide``."""

    def _encoded(self) -> dict[str, Array]:
        if self._rounding.codec is None:
            return {"weights": self._s}
        self._rounding.codec.encode(self._s, None, self._rounding.up)
        return {"change": self._rounding.up}

    def _read(self, broadcast: Message) -> bool:
        if "weights" not in broadcast.arrays:
            assert self._rounding.codec is not None
            self._rounding.codec.decode(self._rounding.down, self._scratch)
        return True

    def _is_far_behind(self, broadcast: Message) -> bool:
        return False  # each upload of any child makes a version, so versions do not show this

    def _move(self, broadcast: Message, merged: bool) -> None:
        if merged:
            self._shared.add_(torch.sub(self._scratch, self._s, out=self._s), alpha=self._settings.beta)
