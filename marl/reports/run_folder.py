"""The folder of one run: configuration, facts and metrics, safe against crashes and full disks."""

import contextlib
import errno
import json
import math
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from marl.errors import RunFolderError
from marl.failpoints import fail
from marl.files import open_regular, parse_json, read_file
from marl.reports.facts import git_facts, hardware, versions
from marl.reports.jsonl import MAX_FILE, MAX_LINE


def create_run_folder(parent: Path, name: str) -> "RunFolder":
    """Make ``parent/name-YYYYMMDD-HHMMSS``, with -2, -3, ... behind it where that is taken.

    Raises:
        RunFolderError: the folder cannot be made.
    """
    readable = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "run"
    stem = f"{readable}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = parent / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()  # the file system decides who was first
                return RunFolder(path)
            except FileExistsError:
                number += 1
    except OSError as error:
        raise RunFolderError(
            f"expected a place for run folders at {parent}, got {error.strerror or error}: choose another folder"
        ) from error


def open_run_folder(path: Path) -> "RunFolder":
    """Open a run that exists, to resume or look at it.

    Raises:
        RunFolderError: ``path`` holds no run.
    """
    folder = RunFolder(path)
    if folder.config.is_file():
        return folder
    if not path.exists():
        came = "nothing there"
    elif not path.is_dir():
        came = "a file"
    else:
        came = "a folder without config.toml"
    raise RunFolderError(f"expected a run folder at {path}, got {came}: {_advice(path)}")


def holds_run(path: Path) -> bool:
    """Whether this is a run's own folder, rather than one where somebody keeps a ``config.toml``."""
    folder = RunFolder(path)
    return folder.config.is_file() and any(
        each.exists() for each in (path / "checkpoint.pt", folder.facts, folder.metrics)
    )


def _advice(path: Path) -> str:
    for inside in (path, path.parent):
        runs = sorted(inside.glob("*/config.toml"), key=lambda config: config.stat().st_mtime)
        if runs:
            return f"give a run's own folder; the newest in {inside} is {runs[-1].parent}"
    return "give the folder that training named when it started"


MAX_FACTS = 4_000_000  # bytes of ``facts.json``
MAX_KEPT = 4_000_000  # bytes of the lines that are held at once
UNFINISHED = ".tmp"  # ending of files that are being written


class RunFolder:
    """Where everything about one run lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[str, Any] = {}  # facts, as the file has them

    @property
    def config(self) -> Path:
        """The whole configuration, enough to start the run again."""
        return self.path / "config.toml"

    @property
    def facts(self) -> Path:
        """Seed, versions, hardware and commit."""
        return self.path / "facts.json"

    @property
    def metrics(self) -> Path:
        """One status a line."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """What happened, one event a line; see ``marl/reports/events.py``."""
        return self.path / "events.jsonl"

    @property
    def curve(self) -> Path:
        """The mean return at hundreds of moments, one a line, as of the last checkpoint."""
        return self.path / "curve.jsonl"

    @property
    def git_diff(self) -> Path:
        """What differed from the commit at the start; missing if nothing did."""
        return self.path / "git.diff"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Write ``facts`` (seeds and such) with versions, hardware and the state of the code.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        git, diff = git_facts(Path.cwd())
        everything = {
            **facts,
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": sys.argv,
            "versions": versions(),
            "hardware": hardware(),
            "git": git,
        }
        try:
            self._write_facts(everything)
            if diff:
                write_atomic(self.git_diff, diff)
        except OSError as error:
            raise RunFolderError(
                f"expected a run folder to write at {self.path}, got {error.strerror or error}: "
                "free space there, or choose another folder"
            ) from error

    def update_facts(self, facts: dict[str, Any]) -> None:
        """Write what has become known since ``write_facts``; a full disk costs facts, never the run."""
        everything = {**self._written, **facts}
        if self._written and everything != self._written:
            with contextlib.suppress(OSError):
                self._write_facts(everything)

    def read_facts(self) -> dict[str, Any]:
        """What is known of the run; nothing where the file is missing or damaged."""
        try:
            facts = parse_json(read_file(self.facts, MAX_FACTS))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def _write_facts(self, facts: dict[str, Any]) -> None:
        write_atomic(self.facts, json.dumps(facts, indent=2, default=str).encode() + b"\n")
        self._written = facts

    def read_metrics(self) -> list[dict[str, Any]]:
        """The statuses written so far, oldest first; every second, fourth, ... one where that would be more than a
        curve can show. Lines torn by a crash or a full disk are skipped.

        Raises:
            RunFolderError: the file exists and cannot be read.
        """
        return self._thinned(self.metrics)

    def read_curve(self) -> list[dict[str, Any]]:
        """The learning curve, oldest first: of the episodes, and of the metrics where there is no such file, or what a
        run that was killed had not written there yet.

        Raises:
            RunFolderError: a file exists and cannot be read.
        """
        points, metrics = self._thinned(self.curve), self.read_metrics()
        if not points:
            return metrics
        first, last = points[0]["steps"], points[-1]["steps"]
        before = [entry for entry in metrics if entry["steps"] < first]
        return [*before, *points, *(entry for entry in metrics if entry["steps"] > last)]

    def _thinned(self, file: Path) -> list[dict[str, Any]]:
        kept: list[tuple[int, dict[str, Any]]] = []  # with the length of its line
        every, total = 1, 0
        last: dict[str, Any] | None = None
        for index, (line, entry) in enumerate(self._entries(file)):
            last = entry
            if index % every == 0:
                kept.append((len(line), entry))
                total += len(line)
            if total > MAX_KEPT:
                kept, every = kept[::2], 2 * every
                total = sum(length for length, _ in kept)
        entries = [entry for _, entry in kept]
        return entries if last is None or entries[-1] is last else [*entries, last]

    def sweep(self) -> None:
        """Remove what a killed process was writing, before the run goes on."""
        for file in self.path.glob(f".*{UNFINISHED}"):
            with contextlib.suppress(OSError):
                file.unlink()

    def truncate_metrics(self, steps: int, seconds: float = math.inf) -> None:
        """Drop what was written of later than the checkpoint at ``steps`` and ``seconds``: no curve doubles back.

        Raises:
            RunFolderError: the file cannot be read or written.
        """
        for file in (self.metrics, self.curve, self.events):
            kept = (
                line + b"\n"
                for line, entry in self._entries(file)
                if entry["steps"] <= steps and not entry.get("seconds", 0.0) > seconds
            )
            try:
                if file.exists():
                    write_atomic(file, kept)
            except OSError as error:
                raise RunFolderError(
                    f"expected to shorten {file}, got {error.strerror or error}: free space there"
                ) from error

    def _entries(self, path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
        try:
            with open(open_regular(path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_FILE:
                    raise OSError(errno.EFBIG, f"it has {size:,} bytes, expected at most {MAX_FILE:,}")
                while line := file.readline(MAX_LINE):
                    if (entry := _status_in(line)) is not None:
                        yield line.removesuffix(b"\n"), entry
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunFolderError(
                f"expected to read {path}, got {error.strerror or error}: check the folder's permissions"
            ) from error


def _status_in(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is torn, or no status."""
    try:
        entry = parse_json(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or type(entry.get("steps")) is not int:
        return None
    return entry if type(entry.get("seconds", 0.0)) in (int, float) else None


def write_atomic(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Replace a file so that a crash at any moment leaves the old content or the new, never a part.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with open(temporary, "xb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            fail(f"{path.name}.written")
            os.fsync(file.fileno())
        fail(f"{path.name}.renaming")
        os.replace(temporary, path)
        fail(f"{path.name}.renamed")
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if os.name == "posix":  # the new name itself is safe only once its folder is on disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
