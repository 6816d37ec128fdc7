"""How hostile files are made: each function writes one, or makes what does."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from marl.config.settings import from_tree, to_tree
from marl.data.stored import as_plain
from marl.training.saved.weights_file import FORMAT, network_tensors
from tests.plain_spaces import plain_spaces

Write = Callable[[Path], object]
SPACES = plain_spaces((4,), num_actions=2)
DEEP = 100_000
DIGITS = "9" * 5_000
COMMAND = {"id": "subprocess:getoutput", "kwargs": {"cmd": "touch ran"}}


def good() -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and description of a file that can be read."""
    config = from_tree({})
    network = config.algorithm.build_network(SPACES, config.network, 1)
    return dict(network_tensors(network)), {"config": to_tree(config), "spaces": as_plain(SPACES)}


def weights(
    *, tensors: dict[str, Any] | None = None, drop: str = "", text: Any = None, **changes: Any
) -> Callable[[Path], None]:
    """A weights file with other tensors, another description, or other settings (``environment__id``)."""

    def write(path: Path) -> None:
        content, info = good()
        info = json.loads(json.dumps(info))
        for key, value in changes.items():
            *sections, last = key.split("__")
            inner = info
            for section in sections:
                inner = inner[section]
            inner[last] = value
        content |= tensors or {}
        content.pop(drop, None)
        described = json.dumps({"format": FORMAT, **info}) if text is None else text
        torch.save({**content, "json": described}, path)

    return write


def seen(**changes: Any) -> Write:
    """Other observations: one array, with these changes."""
    plain = as_plain(SPACES)
    return weights(spaces={**plain, "observations": {**plain["observations"], **changes}})


def acts(**changes: Any) -> Write:
    """Other actions: one category, with these changes."""
    plain = as_plain(SPACES)
    return weights(spaces={**plain, "actions": {**plain["actions"], **changes}})


def tree(**trees: Any) -> Write:
    return weights(spaces={**as_plain(SPACES), **trees})


def older(**changes: Any) -> Write:
    """Spaces as older files hold them."""
    bounds = {"action_low": [], "action_high": [], "action_shape": [], "action_start": 0}
    return weights(spaces={"observation_shape": [4], "num_actions": 2, **bounds, **changes})


def hidden(*widths: int) -> Write:
    return weights(config__network__hidden=list(widths))


def settings(section: str, **values: Any) -> Write:
    return weights(**{f"config__{section}__{key}": value for key, value in values.items()})


def bytes_of(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def sparse(size: int) -> Write:
    def write(path: Path) -> None:
        with open(path, "wb") as file:
            file.truncate(size)

    return write


def changed(change: Callable[[bytes], bytes]) -> Write:
    """A good weights file whose bytes were changed."""

    def write(path: Path) -> None:
        weights()(path)
        path.write_bytes(change(path.read_bytes()))

    return write


def pickled(body: bytes, records: dict[str, bytes] | None = None, packed: bool = False) -> Write:
    """An archive as torch writes it, around a pickle of our own."""

    def write(path: Path) -> None:
        how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", how) as archive:
            for name, content in {
                "data.pkl": body,
                "version": b"3\n",
                "byteorder": b"little",
                **(records or {}),
            }.items():
                archive.writestr(f"archive/{name}", content)

    return write


def text_of(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def call(module: str, name: str, arguments: bytes) -> bytes:
    """A pickle of {"json": "{}", "network.a": module.name(*arguments)}."""
    called = f"c{module}\n{name}\n".encode() + arguments + b"R"
    return b"\x80\x02}(" + text_of("json") + text_of("{}") + text_of("network.a") + called + b"u."


def tensor(shape: str, stride: str, count: int, dtype: str = "Float", offset: int = 0) -> bytes:
    """A pickle with one tensor of which the file holds 4 numbers."""
    storage = b"(" + text_of("storage") + f"ctorch\n{dtype}Storage\n".encode() + text_of("0") + text_of("cpu")
    storage += number(count) + b"tQ"
    sizes, steps = (b"".join(number(int(each)) for each in text.split()) for text in (shape, stride))
    arguments = b"(" + storage + number(offset) + b"(" + sizes + b"t(" + steps + b"t"
    return call("torch._utils", "_rebuild_tensor_v2", arguments + b"\x89ccollections\nOrderedDict\n)Rt")


def many_parts(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        for number in range(30_000):
            archive.writestr(f"archive/data/{number}", b"")


def overlapping(path: Path) -> None:
    """Many names for the same megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(1_000_000))
        first = archive.getinfo("archive/data/0")
        for number in range(1, 5_000):
            other = zipfile.ZipInfo(f"archive/data/{number}")
            other.header_offset, other.CRC = first.header_offset, first.CRC
            other.file_size = other.compress_size = first.file_size
            archive.filelist.append(other)
    path.write_bytes(buffer.getvalue())
