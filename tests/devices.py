"""A device that is not there: torch's "meta" device, which knows shapes alone, as one that can be learned on."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
ATEN = torch.ops.aten
BETWEEN_DEVICES = (ATEN.copy_.default, ATEN._to_copy.default)
PLACES_ANYWHERE = (ATEN.index.Tensor, ATEN.index_put_.default)  # torch brings the indices to the device
NUMBERS = {torch.bool: True, torch.float32: 0.5}


class MetaDevice(TorchDispatchMode):
    """Refuses an operation on tensors of several devices, as a real device does, and says something of a value where
    one is asked for: 0 where it is copied to the CPU, and as a mask that all counts.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if func not in BETWEEN_DEVICES:
            compared = tensors[:1] if func in PLACES_ANYWHERE else [each for each in tensors if each.ndim]
            devices = {each.device.type for each in compared}
            assert len(devices) < 2, f"{func} of tensors on {' and '.join(sorted(devices))}"
        if not any(each.device == META for each in tensors):
            return func(*args, **kwargs)
        if func is ATEN._local_scalar_dense.default:
            return NUMBERS.get(args[0].dtype, 1)
        if func is ATEN.nonzero.default:
            return args[0].new_empty((args[0].numel(), args[0].ndim), dtype=torch.int64)
        if func is ATEN.index.Tensor:
            args = (args[0], list(_counted(args[1])), *args[2:])
        if func is ATEN.copy_.default and args[0].device != META:
            return args[0].zero_()
        if func is ATEN._to_copy.default and kwargs.get("device") == torch.device("cpu"):
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **kwargs)


def _counted(indices: Any) -> Iterator[Any]:
    for index in indices:
        if index is None or index.dtype is not torch.bool:
            yield index
            continue
        for _ in range(index.ndim):
            yield index.new_empty((index.numel(),), dtype=torch.int64)
