"""``weights.pt`` and checkpoints: tensors and one JSON text, nothing pickled.

Keys: ``network.<name>`` for each tensor of the network, ``normalizer`` (count, mean, squared deviations) where
observations are normalised, ``json`` for everything else. A checkpoint has these keys and more tensors, so it can
be evaluated like a weights file. The comment of the zip file is a seal: it shows that this user wrote the file.
"""

import io
import itertools
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import torch
from torch import Tensor, nn

from marl.errors import WeightsFileError
from marl.files import open_regular, parse_json
from marl.training.saved.archive import Refused, Stored, survey
from marl.trust.seal import SEAL_BYTES, is_own, is_seal, seal_of
from marl.trust.secret import Secret

FORMAT = "marl-weights-1"
AT_ONCE = 32_000_000  # bytes; a longer file is inspected before it is read into memory


class WeightsFile(NamedTuple):
    """The content of a file."""

    tensors: dict[str, Tensor]
    info: dict[str, Any]
    own: bool = False  # this user wrote it on this machine, so it may name any code to import


class Contents(NamedTuple):
    """What a file says of itself; its tensors are not loaded yet."""

    info: dict[str, Any]
    stored: dict[str, Stored]  # by the tensors' names
    own: bool


def to_bytes(tensors: dict[str, Tensor], info: dict[str, Any], key: Secret | None = None) -> bytes:
    """The file's content, sealed where there is a key."""
    buffer = io.BytesIO()
    torch.save({**tensors, "json": json.dumps({"format": FORMAT, **info})}, buffer)
    archive = buffer.getvalue()
    return archive if key is None else _with_comment(archive, seal_of(key, "weights", [archive]))


def _with_comment(archive: bytes, comment: bytes) -> bytes:
    """A zip file ends with the length of a comment and the comment; torch writes none."""
    return archive[:-2] + struct.pack("<H", len(comment)) + comment


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's tensors by their key in the file."""
    return {f"network.{name}": tensor.detach().clone() for name, tensor in network.state_dict().items()}


def read(path: str | Path, check: Callable[[Contents], None] = lambda unused: None) -> WeightsFile:
    """Read a file without running anything that it contains.

    Args:
        check: called with what the file says, before a tensor is loaded; may raise, to refuse the file.

    Raises:
        WeightsFileError: it does not exist, is damaged, or was not written by marl.
    """
    try:
        with open(open_regular(Path(path)), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > AT_ONCE:  # a refused file is never in memory as a whole
                check(_look(file, size, path))
                file.seek(0)
            data = file.read(size)
    except FileNotFoundError:
        raise WeightsFileError(f"no file {path}: train first (marl train), or name the file to read") from None
    except OSError as error:
        raise WeightsFileError(f"cannot read {path}: {error.strerror or error}") from error
    contents = _look(io.BytesIO(data), len(data), path)
    check(contents)
    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refused(path, f"it is damaged or cut short ({type(error).__name__})") from error
    del tensors["json"]
    if not all(
        isinstance(tensor, Tensor) and tensor.shape == contents.stored[name].shape for name, tensor in tensors.items()
    ):
        raise _refused(path, "it holds something that is not a tensor")
    return WeightsFile(tensors, contents.info, contents.own)


def _look(file: BinaryIO, size: int, path: str | Path) -> Contents:
    file.seek(max(0, size - SEAL_BYTES))
    seal = file.read(SEAL_BYTES)
    seal = seal if is_seal(seal) else b""
    try:
        stored = survey(file, size, len(seal))
        text = stored.pop("json", None)
        if not isinstance(text, str):
            raise Refused("it holds something else: files of other libraries cannot be read")
        if words := [name for name, each in stored.items() if isinstance(each, str)]:
            raise Refused(f"it holds {words[0]!r:.80}, which is not a tensor")
    except Refused as error:
        raise _refused(path, str(error)) from error
    try:
        info = parse_json(text)
    except ValueError as error:
        raise _refused(path, f"it has a damaged description: {error}") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        found = info.get("format") if isinstance(info, dict) else info
        raise WeightsFileError(f"{path} has the format {found!r:.80}, this version of marl reads {FORMAT!r}")
    archive = _chunks(file, size - len(seal) - 2)  # without the comment's length, which was 0 before sealing
    own = bool(seal) and is_own("weights", itertools.chain(archive, (b"\0\0",)), seal)
    return Contents(info, cast(dict[str, Stored], stored), own)


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, 1 << 20))):
        size -= len(chunk)
        yield chunk


def _refused(path: str | Path, reason: str) -> WeightsFileError:
    return WeightsFileError(
        f"expected a weights file that marl wrote in {path}, and {reason}: train again, or copy it again"
    )


def demand_shapes(network: nn.Module, stored: Mapping[str, Stored | Tensor], path: str | Path) -> None:
    """Refuse tensors that are not those of this network.

    Raises:
        WeightsFileError: the network has other tensors than the file.
    """
    expected = {f"network.{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, shape in expected.items():
        came = tuple(stored[name].shape) if name in stored else None
        if came != shape:
            raise WeightsFileError(
                f"{path}: expected {name.removeprefix('network.')} of shape {shape}, got {came or 'none'}: "
                "the file belongs to another environment or another network"
            )
    if more := [name for name in stored if name.startswith("network.") and name not in expected]:
        raise WeightsFileError(f"{path}: expected no {more[0]:.80}: the file belongs to another network")


def fill(network: nn.Module, file: WeightsFile, path: str | Path) -> None:
    """Copy the file's weights into a network, in place.

    Raises:
        WeightsFileError: the network has other tensors than the file, or weights in it are not finite.
    """
    demand_shapes(network, file.tensors, path)
    for name, tensor in network.state_dict(keep_vars=True).items():
        copy_exactly(tensor, file.tensors[f"network.{name}"], f"{path}: {name}")


def copy_exactly(place: Tensor, stored: Tensor | None, what: str) -> None:
    """Copy a file's tensor to where it belongs, in place.

    Raises:
        WeightsFileError: it is missing, of another shape, or holds numbers that are not finite.
    """
    if stored is None or stored.shape != place.shape:
        came = "none" if stored is None else tuple(stored.shape)
        raise WeightsFileError(f"{what}: expected numbers of shape {tuple(place.shape)}, got {came}: train again")
    if not stored.isfinite().all():
        raise WeightsFileError(f"{what}: expected finite numbers, got some that are not: train again")
    with torch.no_grad():
        place.copy_(stored)
