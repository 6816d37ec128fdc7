"""Arrays as bytes and back, without copies. Bytes are little-endian, as all machines that torch supports are."""

from collections.abc import Mapping

import torch
from torch import Tensor

from marl.digests import traffic_digest
from marl.errors import MessageRefused
from marl.wire.header import ArrayEntry
from marl.wire.message import Array

_FORMATS = {"f": "float32", "d": "float64", "e": "float16", "b": "int8", "B": "uint8", "h": "int16", "?": "bool"}


def bytes_of(array: Array) -> memoryview:
    """The bytes of a contiguous array, without a copy; writable where the array is."""
    if isinstance(array, Tensor):
        if not array.is_contiguous() or array.device.type != "cpu":
            raise MessageRefused(f"expected a contiguous tensor on the CPU, got {array.stride()} on {array.device}")
        return array.detach().view(-1).view(torch.uint8).numpy().data
    view = memoryview(array)
    if not view.c_contiguous:
        raise MessageRefused("expected contiguous memory: copy the slice first")
    return view.cast("B") if view.nbytes else memoryview(b"")


def digest_of(arrays: Mapping[str, Array]) -> bytes:
    """The digest of a payload, for ``Link.send``: computed once for all children that get the same."""
    hashing = traffic_digest()
    for array in arrays.values():
        hashing.update(bytes_of(array))
    return hashing.digest()


def entry_of(name: str, array: Array) -> ArrayEntry:
    """The line of the manifest that describes ``array``."""
    if isinstance(array, Tensor):
        dtype, shape, nbytes = str(array.dtype).removeprefix("torch."), tuple(array.shape), array.nbytes
    else:
        view = memoryview(array)
        wide = f"int{8 * view.itemsize}" if view.format in {"i", "l", "q"} else f"format {view.format}"
        dtype, shape, nbytes = _FORMATS.get(view.format, wide), view.shape or (), view.nbytes
    return ArrayEntry(name, dtype, shape, nbytes)  # type: ignore[arg-type]  # encode_header checks it


def tensor_over(view: memoryview, entry: ArrayEntry) -> Tensor:
    """The array that ``entry`` describes, over memory that holds it."""
    dtype = getattr(torch, entry.dtype)
    if not entry.nbytes:
        return torch.empty(entry.shape, dtype=dtype)
    flat = torch.frombuffer(view, dtype=torch.uint8)
    if entry.dtype == "bool" and int(flat.max()) > 1:
        raise MessageRefused(f"{entry.name}: expected bytes of 0 and 1")
    return flat.view(dtype).view(entry.shape)
