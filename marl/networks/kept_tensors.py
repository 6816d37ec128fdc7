"""Modules that hold tensors in plain attributes, because torch needs longer to look up a parameter than a small layer
needs to compute.
"""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class KeepsTensors(nn.Module):
    """Finds its tensors again when torch has replaced them.

    Moving a module to a device or to another type makes new buffers, and on some devices new parameters. Torch updates
    its own tables of them, not a plain attribute, which would keep the old tensors.
    """

    def relist(self) -> None:
        """Find the tensors again."""
        raise NotImplementedError

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Torch calls it for ``to``, ``double``, ``cuda`` and similar methods, and for the submodules first."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.relist()
        return self
