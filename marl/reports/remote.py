"""Run folders at a URI, such as ``s3://bucket/runs``: a run writes on this machine, and a copy there follows.

Which kinds of places there are is the matter of fsspec: ``sftp://``, ``s3://``, ``gs://``, ``hdfs://`` and others.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from marl.errors import MissingExtra, RunFolderError
from marl.reports.run_folder import UNFINISHED
from marl.reports.run_lock import HOLDER, LOCK

LOCAL = "runs"  # folder of the run folders on this machine
PASSWORD = re.compile(r"((\w+)[\w+.-]*://[^/@:]*:)[^/@]+@")
MAX_FETCHED = 20_000_000_000  # bytes of a run folder
MAX_FILES = 10_000  # likewise


def is_remote(place: object) -> bool:
    """Whether a place is a URI rather than a path."""
    return "://" in str(place)


class RemoteRuns:
    """The run folders at one URI."""

    def __init__(self, uri: str) -> None:
        """
        Raises:
            MissingExtra: fsspec is not installed.
            RunFolderError: nothing that is installed reaches such a place, or its address has a password in it.
        """
        self.uri = uri.rstrip("/")
        if named := PASSWORD.match(uri):
            raise RunFolderError(
                f"expected no password in the address {named[1]}..., since a run folder says where it is copied: set "
                f"{f'FSSPEC_{named[2]}_PASSWORD'.upper()} in the environment"
            )
        self.connect()

    def connect(self) -> None:
        """Connect, or again: a connection that broke stays so.

        Raises:
            MissingExtra, RunFolderError: see ``RemoteRuns``.
        """
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtra("fsspec", "remote", f"run folders at {self.uri}") from error
        with _explained(self.uri, "a place for run folders"):
            self.files, self.root = url_to_fs(self.uri, skip_instance_cache=True)

    def demand_writable(self) -> None:
        """Make the folder, and a file in it.

        Raises:
            RunFolderError: that fails.
        """
        with _explained(self.uri, "a place for run folders"):
            self.files.makedirs(self.root, exist_ok=True)
            self.files.pipe_file(f"{self.root}/{LOCK}", b"")
            self.files.rm_file(f"{self.root}/{LOCK}")

    def fetch(self, name: str, into: Path) -> None:
        """Copy the run folder of this name to this machine.

        Raises:
            RunFolderError: there is none, it cannot be read, or there is one here.
        """
        from_, to = f"{self.root}/{name}", into / name
        if to.exists():
            raise RunFolderError(
                f"expected no {to} on this machine, into which {self.uri}/{name} is copied, got one: --resume {to} "
                "goes on with that one, or move it away"
            )
        with _explained(f"{self.uri}/{name}", "a run folder"):
            found = self.files.find(from_, detail=True)
            found = {path: each for path, each in found.items() if not path.endswith(UNFINISHED)}
            if f"{from_}/config.toml" not in found:
                raise FileNotFoundError("no config.toml there")
            if len(found) > MAX_FILES or sum(each["size"] or 0 for each in found.values()) > MAX_FETCHED:
                raise ValueError(f"it has more than {MAX_FILES:,} files or {MAX_FETCHED / 1e9:g} GB")
            parts = [_inside(path, from_) for path in found]
            unfinished = into / f".{name}{UNFINISHED}"
            for path, part in zip(found, parts, strict=True):
                (unfinished / part).parent.mkdir(parents=True, exist_ok=True)
                self.files.get_file(path, str(unfinished / part))
            unfinished.rename(to)


class RemoteCopy:
    """The copy of one run folder."""

    def __init__(self, runs: RemoteRuns, folder: Path) -> None:
        self.uri = f"{runs.uri}/{folder.name}"
        self._runs, self._folder = runs, folder
        self._there: set[str] | None = None  # files of the copy; None: nobody has looked
        self._known: dict[PurePosixPath, tuple[int, int]] = {}  # size and time of what has been copied
        self._broken = False  # the last update failed

    def update(self) -> None:
        """Copy what has changed: each file is there whole, as it was or as it is.

        Raises:
            RunFolderError: a file cannot be copied; those before it are.
        """
        with _explained(self.uri, "to copy the run folder"):
            try:
                self._update()
            except BaseException:
                self._broken = True
                raise

    def _update(self) -> None:
        if self._broken:
            self._runs.connect()
            self._there, self._broken = None, False
        root = f"{self._runs.root}/{self._folder.name}"
        if self._there is None:
            self._runs.files.makedirs(root, exist_ok=True)
            self._there = set(self._runs.files.find(root))
        for file in sorted(self._folder.rglob("*")):
            part = PurePosixPath(file.relative_to(self._folder).as_posix())
            if file.name in (LOCK, HOLDER) or file.name.endswith(UNFINISHED) or not file.is_file():
                continue
            with contextlib.suppress(FileNotFoundError):  # it was replaced just now
                state = file.stat().st_size, file.stat().st_mtime_ns
                if self._known.get(part) != state:
                    self._copy(file, f"{root}/{part}", self._there)
                    self._known[part] = state

    def _copy(self, file: Path, to: str, there: set[str]) -> None:
        files, unfinished = self._runs.files, f"{to}{UNFINISHED}"
        files.makedirs(to.rpartition("/")[0], exist_ok=True)
        files.put_file(str(file), unfinished)
        try:
            files.mv(unfinished, to)
        except Exception:
            if to not in there:
                raise
            files.rm_file(to)  # not every kind of place replaces a file
            files.mv(unfinished, to)
        there.add(to)


def _inside(path: str, root: str) -> PurePosixPath:
    part = PurePosixPath(path.removeprefix(root).lstrip("/"))
    if ".." in part.parts or part.is_absolute() or not part.parts:
        raise ValueError(f"a file of it is called {path!r:.200}")
    return part


@contextlib.contextmanager
def _explained(uri: str, wanted: str) -> Iterator[None]:
    """Libraries of a hundred kinds of places raise whatever they like.

    Raises:
        RunFolderError: in place of what is raised in the block.
    """
    try:
        yield
    except ImportError as error:
        raise RunFolderError(f"expected {wanted} at {uri}, got: {' '.join(str(error).split()):.300}") from error
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split()):.300}"
        raise RunFolderError(f"expected {wanted} at {uri}, got {told}: check address and credentials") from error
