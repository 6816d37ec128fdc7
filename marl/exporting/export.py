"""Writes a policy in the format that is asked for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from marl.acting.policy import Policy
from marl.errors import ConfigError
from marl.exporting import onnx_file, safetensors_file, torchscript_file
from marl.reports.places import demand_file
from marl.reports.run_folder import holds_run, write_atomic


class Format(NamedTuple):
    """What a name after ``--`` stands for."""

    suffix: str
    demand: Callable[[], None]  # raises before anything is done where its packages are missing
    to_bytes: Callable[[Policy], bytes]


FORMATS = {
    "onnx": Format(onnx_file.SUFFIX, onnx_file.demand, onnx_file.to_bytes),
    "torchscript": Format(torchscript_file.SUFFIX, torchscript_file.demand, torchscript_file.to_bytes),
    "safetensors": Format(safetensors_file.SUFFIX, safetensors_file.demand, safetensors_file.to_bytes),
}


def place_for(weights: str | Path, form: str, out: str | Path | None) -> Path:
    """Where the file goes: ``out``, or beside the weights; here where they lie in a run folder.

    Raises:
        ConfigError: there is no such format, or no file can be written there.
        MissingExtra: a package that the format needs is not installed.
    """
    if form not in FORMATS:
        raise ConfigError(f"expected one of the formats {', '.join(FORMATS)}, got {form!r:.80}")
    FORMATS[form].demand()
    beside = Path(os.path.splitext(weights)[0] + FORMATS[form].suffix)
    path = Path(out) if out is not None else Path(beside.name) if holds_run(beside.parent) else beside
    demand_file(path, "--out")
    if not path.parent.is_dir():
        raise ConfigError(f"--out: the folder {path.parent} does not exist: make it first")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"--out: {path} may not be written: choose another place")
    if path.exists() and Path(weights).exists() and path.samefile(weights):
        raise ConfigError(f"--out: {path} is the file to read: name another")
    return path


def export_policy(policy: Policy, form: str, path: Path) -> None:
    """Write it whole or not at all.

    Raises:
        ExportFailed: the format cannot hold the network.
        OSError: the file cannot be written.
    """
    write_atomic(path, FORMATS[form].to_bytes(policy))
