"""The tensors of a policy that stable-baselines3 saved: of all that its zip file holds, ``policy.pth`` alone is read.

That is the state dict of a torch module. It is inspected before it is loaded, and loaded as tensors. Everything else in
the file, such as pickled Python objects, is left alone.
"""

import io
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from marl.errors import WeightsFileError
from marl.files import open_regular
from marl.training.saved.archive import Refused, check_directory, survey

POLICY = "policy.pth"
MOST_BYTES = 2_000_000_000  # of ``policy.pth``


def is_sb3(path: str | Path) -> bool:
    """Whether there is such a file: a zip archive with a ``policy.pth``."""
    try:
        with open(open_regular(Path(path)), "rb") as file:
            return _entry(file) is not None
    except (OSError, Refused):
        return False


def read_policy(path: str | Path) -> dict[str, Tensor]:
    """The tensors of the policy by their names, on the CPU.

    Raises:
        WeightsFileError: the file is damaged, or has something else in the place of tensors.
    """
    try:
        with open(open_regular(Path(path)), "rb") as file:
            data = _policy_bytes(file)
        stored = survey(io.BytesIO(data), len(data), 0, state_dict=True)
        tensors: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsFileError(f"cannot read {path}: {error.strerror or error}") from error
    except Refused as error:
        raise _refused(path, str(error)) from error
    except Exception as error:  # zipfile and torch may raise anything
        raise _refused(path, f"it is damaged or cut short ({type(error).__name__})") from error
    for name, each in tensors.items():
        if not isinstance(each, Tensor) or each.dtype != torch.float32 or name not in stored:
            raise _refused(path, f"{name:.80} is no tensor of float32")
        if not each.isfinite().all():
            raise _refused(path, f"{name:.80} has numbers that are not finite")
    return dict(tensors)


def _policy_bytes(file: BinaryIO) -> bytes:
    entry = _entry(file)
    if entry is None:
        raise Refused("it has none")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
        raise Refused("it is packed, and stable-baselines3 writes files that are not")
    if entry.file_size > min(MOST_BYTES, os.fstat(file.fileno()).st_size):
        raise Refused(f"it has {entry.file_size:,} bytes, expected at most {MOST_BYTES:,} and no more than the file")
    with zipfile.ZipFile(file) as archive:
        return archive.read(entry)


def _entry(file: BinaryIO) -> zipfile.ZipInfo | None:
    """The place of ``policy.pth``; None where there is none.

    Raises:
        Refused: the file is no zip archive, or one with too many parts.
    """
    check_directory(file, os.fstat(file.fileno()).st_size, 0)
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.NameToInfo.get(POLICY)
    # zipfile itself raises NotImplementedError, for a file of a newer version of the format.
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Refused("it is damaged or cut short") from error


def _refused(path: str | Path, reason: str) -> WeightsFileError:
    return WeightsFileError(f"expected a {POLICY} of stable-baselines3 in {path}, and {reason}: save it again")
