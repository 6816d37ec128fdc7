"""Receive buffers for the arrays of a message, chosen by its header; each function is for ``Link.recv``."""

from collections.abc import Mapping

from torch import Tensor

from marl.errors import MessageRefused
from marl.wire.arrays import bytes_of, entry_of
from marl.wire.header import Header
from marl.wire.payload import ReceiveBuffers


def no_buffers(header: Header) -> Mapping[str, memoryview]:
    """Accept messages without arrays only: a straggler flush, a stop, a handshake."""
    if header.manifest:
        names = ", ".join(entry.name for entry in header.manifest)
        raise MessageRefused(f"{header.kind} from {header.sender}: expected no arrays, got {names}")
    return {}


def new_buffers(header: Header) -> Mapping[str, memoryview]:
    """New memory for whatever comes. The link's agreed length is then the only bound: for small messages."""
    return {entry.name: memoryview(bytearray(entry.nbytes)) for entry in header.manifest}


def buffers_of(tensors: Mapping[str, Tensor]) -> ReceiveBuffers:
    """These tensors as receive buffers; accepts exactly these arrays, by name, type and shape."""
    expected = {name: entry_of(name, tensor) for name, tensor in tensors.items()}
    views = {name: bytes_of(tensor) for name, tensor in tensors.items()}

    def buffers(header: Header) -> Mapping[str, memoryview]:
        came = {entry.name: entry for entry in header.manifest}
        for name in expected.keys() | came.keys():
            if came.get(name) != expected.get(name):
                raise MessageRefused(
                    f"{header.kind} from {header.sender}: expected {_words(expected.get(name))}, "
                    f"got {_words(came.get(name))}"
                )
        return views

    return buffers


def _words(entry: object) -> str:
    return "no such array" if entry is None else str(entry)
