"""Inspect a file of tensors before anything in it is loaded: what it holds and how large that is.

torch's loader trusts the sizes that a file claims: two megabytes can unpack to gigabytes, and a few bytes of its pickle
can ask for as much. So the archive's directory and the pickle are read here first, in bounded memory. Only what
marl itself writes is accepted: texts, and plain, contiguous tensors whose bytes are all in the file. The state dict of
a torch module, which other libraries save, is accepted where it is asked for: it has metadata besides, and may name a
GPU.
"""

import io
import math
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Collection
from typing import Any, BinaryIO, NamedTuple, NoReturn

MAX_TEXT = 4_000_000  # bytes of the texts in a file, of which one is the description
MAX_ENTRIES = 20_000  # of the archive: one for each tensor, and a few
MAX_OPERATIONS = 500_000  # of the pickle

_DTYPES = {"Float": 4, "Double": 8, "Long": 8, "Int": 4, "Byte": 1, "Bool": 1}  # bytes of each number
# The opcodes that a pickle may contain.
_OPERATIONS = {
    *("PROTO", "MARK", "STOP", "GLOBAL", "REDUCE", "BINPERSID", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NEWFALSE", "NEWTRUE"),
}
_ELSE = "it holds something else: files of other libraries cannot be read"
_RECORD = re.compile(r"[^/]+/(data\.pkl|byteorder|version|data/\d+|\.[\w/.-]+)")
_END, _LOCATOR = 22, 20  # bytes of the records with which a zip file ends


class Refused(ValueError):
    """A file that is damaged, or that marl has not written."""


class Stored(NamedTuple):
    """A tensor in a file."""

    dtype: str
    shape: tuple[int, ...]
    num_bytes: int  # that it has in the file


def survey(file: BinaryIO, size: int, comment: int, *, state_dict: bool = False) -> dict[str, Stored | str]:
    """The tensors and texts in a file of ``size`` bytes by their names.

    Args:
        comment: bytes of the zip comment, which follows the archive.
        state_dict: whether it may be that of a torch module.

    Raises:
        Refused: it is damaged or holds anything else.
    """
    check_directory(file, size, comment)
    try:
        with zipfile.ZipFile(file) as archive:
            records = _records(archive, size)
            pickled = archive.read(records["data.pkl"])
            stored = {name: record.file_size for name, record in records.items()}
        _check_operations(pickled, _OPERATIONS | {"BUILD"} if state_dict else _OPERATIONS)
        content = _Plan(io.BytesIO(pickled), stored, any_device=state_dict).load()
    except Refused:
        raise
    except Exception as error:  # zipfile and pickle may raise anything
        raise Refused(f"it is damaged or cut short ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise Refused(_ELSE)
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, (Stored, str)):
            raise Refused(_ELSE)
    return content


def check_directory(file: BinaryIO, size: int, comment: int) -> None:
    """Check that the archive ends as torch writes it, so that every zip reader finds the same directory.

    Raises:
        Refused: it does not, or has too many parts.
    """
    file.seek(0)
    if file.read(4) != b"PK\3\4":
        raise Refused("it is no such file")
    size -= comment
    file.seek(max(0, size - _LOCATOR - _END))
    end = file.read(_LOCATOR + _END)
    if len(end) < _LOCATOR + _END or end[_LOCATOR : _LOCATOR + 4] != b"PK\5\6":
        raise Refused("it is damaged or cut short")
    disks, entries, length, start, behind = struct.unpack("<4xI2xHIIH", end[_LOCATOR:])
    expected = start + length
    if end[:4] == b"PK\6\7":  # zip64: the same again, in 64-bit numbers
        (place,) = struct.unpack("<8xQ4x", end[:_LOCATOR])
        if place + 56 + _LOCATOR + _END != size:
            raise Refused("it is damaged or cut short")
        file.seek(place)
        signature, more, length, start = struct.unpack("<4s28xQQQ", file.read(56))
        entries, expected = max(entries, more), start + length + 56 + _LOCATOR
        disks |= signature != b"PK\6\6"
    if disks or behind != comment or expected + _END != size:
        raise Refused("it is damaged or cut short")
    if entries > MAX_ENTRIES or length > 200 * MAX_ENTRIES:
        raise Refused(f"it has {entries:,} parts, expected at most {MAX_ENTRIES:,}")


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The parts by their names, without the folder that they all lie in."""
    infos = archive.infolist()
    folder = infos[0].filename.partition("/")[0] if infos else ""
    records: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.removeprefix(f"{folder}/")
        if not _RECORD.fullmatch(info.filename) or name == info.filename or name.lower() in records:
            raise Refused(_ELSE)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise Refused("it is packed, and marl writes files that are not")
        records[name.lower()] = info
    if sum(info.file_size for info in infos) > size:
        raise Refused("its parts have more bytes than the file")
    if records["data.pkl"].file_size > 2 * MAX_TEXT:
        raise Refused(f"its description has more than {MAX_TEXT:,} bytes")
    for name, info in records.items():
        if not name.startswith("data") and info.file_size > 1000:
            raise Refused("it is damaged or cut short")
    return records


def _check_operations(pickled: bytes, allowed: Collection[str]) -> None:
    """Check that the pickle asks only for what tensors and texts need."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(pickled)):
        if operation.name not in allowed:
            raise Refused(_ELSE)
        if count > MAX_OPERATIONS or (operation.name.endswith("BINPUT") and int(argument or 0) > count):
            raise Refused("it is damaged, or holds too much")


class _Plan(pickle.Unpickler):
    """Finds out which tensors a file would give, without making them."""

    def __init__(self, file: BinaryIO, stored: dict[str, int], *, any_device: bool) -> None:
        super().__init__(file)
        self._stored = stored
        self._any_device = any_device

    def find_class(self, module: str, name: str) -> Any:
        """What marl's own files name, and nothing else."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return _Named
        if module == "torch" and name.endswith("Storage") and name.removesuffix("Storage") in _DTYPES:
            return name.removesuffix("Storage")
        _refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """The numbers of a tensor: (dtype, how many of them)."""
        kind, dtype, key, device, count = pid
        known = device == "cpu" or (self._any_device and isinstance(device, str))
        if kind != "storage" or not known or dtype not in _DTYPES or not isinstance(key, str):
            _refuse(f"numbers on the device {device!r:.20}")
        if type(count) is not int or count < 0 or count * _DTYPES[dtype] != self._stored[f"data/{key}"]:
            raise Refused("it is damaged: a tensor has not the bytes that it claims")
        return dtype, count

    def _tensor(
        self, storage: Any, offset: Any, shape: Any, stride: Any, learns: Any, hooks: Any, *more: Any
    ) -> Stored:
        dtype, count = storage
        if learns is not False or hooks or more:  # ``more``: flags, for example that numbers are negated
            _refuse("a tensor with gradients or flags")
        if (
            offset != 0
            or len(shape) > 8
            or not all(type(length) is int and length >= 0 for length in (*shape, *stride))
        ):
            _refuse("a tensor of an odd shape")
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        dense = all(length == 1 or step == each for length, step, each in zip(shape, stride, steps, strict=True))
        if math.prod(shape) != count or not (dense or count == 0):
            _refuse("a tensor that is more than its numbers")
        return Stored(dtype, shape, count * _DTYPES[dtype])


class _Named(dict[str, object]):
    """In place of an OrderedDict."""

    def __setstate__(self, unused_metadata: object) -> None:
        """The versions of a module's layers."""


def _refuse(what: str) -> NoReturn:
    raise Refused(f"it holds {what:.80}, and marl writes plain tensors")
