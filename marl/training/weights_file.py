"""``weights.pt`` and checkpoints: tensors and one JSON text, nothing pickled.

Keys: ``network.<name>`` for each tensor of the network, ``normalizer`` (count, mean, squared deviations) where
observations are normalised, ``json`` for everything else. A checkpoint has more tensors beside them, so it can be
evaluated like any weights. The comment of the zip file is a seal, by which the user who wrote the file knows it again.
"""

import io
import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from marl.errors import WeightsFileError
from marl.trust.seal import SEAL_BYTES, is_own, seal_of
from marl.trust.secret import Secret

FORMAT = "marl-weights-1"
ZIP_START = b"PK\x03\x04"  # torch.save writes zip files


class WeightsFile(NamedTuple):
    """The content of a file."""

    tensors: dict[str, Tensor]
    info: dict[str, Any]
    own: bool = False  # whether this user wrote it on this machine: only then the names in it may be imported unasked


def to_bytes(tensors: dict[str, Tensor], info: dict[str, Any], key: Secret | None = None) -> bytes:
    """The file's content, sealed where there is a key."""
    buffer = io.BytesIO()
    torch.save({**tensors, "json": json.dumps({"format": FORMAT, **info})}, buffer)
    archive = buffer.getvalue()
    return archive if key is None else _with_comment(archive, seal_of(key, "weights", archive))


def _with_comment(archive: bytes, comment: bytes) -> bytes:
    """A zip file ends with the length of a comment and the comment; torch writes none."""
    return archive[:-2] + struct.pack("<H", len(comment)) + comment


def _without_comment(data: bytes) -> tuple[bytes, bytes]:
    """The archive as torch wrote it, and the comment that lies behind it, if any."""
    end = len(data) - SEAL_BYTES
    if end > 2 and data[end - 2 : end] == struct.pack("<H", SEAL_BYTES):
        return data[: end - 2] + b"\0\0", data[end:]
    return data, b""


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's tensors by their key in the file."""
    return {f"network.{name}": tensor.detach().clone() for name, tensor in network.state_dict().items()}


def read(path: str | Path) -> WeightsFile:
    """Read a file without running anything that it contains.

    Raises:
        WeightsFileError: it does not exist, is damaged, or was not written by marl.
    """
    expected = f"expected a weights file that marl wrote, and {path}"
    try:
        data = Path(path).read_bytes()  # torch would report a file cut short as an error of the disk
    except FileNotFoundError:
        raise WeightsFileError(f"no file {path}: train first (marl train), or name the file to read") from None
    except OSError as error:
        raise WeightsFileError(f"cannot read {path}: {error.strerror or error}") from error
    archive, comment = _without_comment(data)
    try:
        content = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except Exception as error:
        what = "is damaged or cut short" if data.startswith(ZIP_START) else "is no such file"
        raise WeightsFileError(f"{expected} {what} ({type(error).__name__}): train again or copy it anew") from error
    if not isinstance(content, dict) or not isinstance(content.get("json"), str):
        raise WeightsFileError(f"{expected} holds something else: files of other libraries cannot be read")
    try:
        info = json.loads(content.pop("json"))
    except ValueError as error:
        raise WeightsFileError(f"{expected} has a damaged description: {error}") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        found = info.get("format") if isinstance(info, dict) else info
        raise WeightsFileError(f"{path} has the format {found!r}, this version of marl reads {FORMAT!r}")
    if not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsFileError(f"{expected} holds something that is not a tensor")
    return WeightsFile(content, info, is_own("weights", archive, comment))


def fill(network: nn.Module, file: WeightsFile, path: str | Path) -> None:
    """Copy the file's weights into a network, in place.

    Raises:
        WeightsFileError: the network has other tensors than the file.
    """
    for name, tensor in network.state_dict(keep_vars=True).items():
        stored = file.tensors.get(f"network.{name}")
        if stored is None or stored.shape != tensor.shape:
            came = "none" if stored is None else tuple(stored.shape)
            raise WeightsFileError(
                f"{path}: expected {name} of shape {tuple(tensor.shape)}, got {came}: "
                "the file belongs to another environment or another network"
            )
        with torch.no_grad():
            tensor.copy_(stored)
