"""Where keys lie on disk: made whole or not at all, and for their owner only."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from marl.errors import KeyFileError
from marl.trust.secret import Secret

# Windows has neither: there a symbolic link is looked for by name, and no FIFO lies among files.
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_MOVE_HOME = "set MARL_HOME to a folder of yours on a disk with hard links"


def create_private(path: Path, content: Secret) -> bool:
    """Put ``content`` at ``path`` unless something is there; of several processes at once exactly one wins.

    Returns:
        Whether this call made the file. If not, the file that is there is whole: read that one.

    Raises:
        KeyFileError: the folder cannot be written.
    """
    with _explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = _write_beside(path, content)
        try:
            # Written first and linked second, so that no one ever reads half a key.
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _flush_folder(path.parent)
        return True


def replace_private(path: Path, content: Secret, *, advice: str = _MOVE_HOME) -> None:
    """Replace a file so that a crash at any moment leaves the old content or the new.

    Args:
        advice: what to do when the folder cannot be written.

    Raises:
        KeyFileError: the folder cannot be written; the old file is untouched.
    """
    with _explained(path, advice):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = _write_beside(path, content)
        try:
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def read_private(path: Path, *, max_bytes: int, advice: str) -> Secret:
    """Read a file that only its owner may read.

    Args:
        advice: what to do when there is no such file.

    Raises:
        KeyFileError: it is missing, too long, no regular file, another user's, or open to others.
    """
    try:
        if not _NOFOLLOW and path.is_symlink():
            raise OSError(errno.ELOOP, "symbolic link")
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _BINARY)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise KeyFileError(f"expected a file at {path}, got nothing there: {advice}") from None
        if error.errno == errno.ELOOP:
            raise KeyFileError(f"expected a file at {path}, got a symbolic link: name the file itself") from None
        raise KeyFileError(f"expected to read {path}, got {error.strerror or error}: check its owner") from error
    try:
        if problem := _unsafe(os.fstat(descriptor), path):
            raise KeyFileError(problem)
        content = Secret(os.read(descriptor, max_bytes + 1))
    except OSError as error:
        raise KeyFileError(f"expected to read {path}, got {error.strerror or error}: check the disk") from error
    finally:
        os.close(descriptor)
    if len(content.reveal()) > max_bytes:
        raise KeyFileError(f"expected at most {max_bytes} bytes in {path}, got more: {advice}")
    return content


def _unsafe(facts: os.stat_result, path: Path) -> str | None:
    """Why ssh would refuse such a file too, if it would."""
    if not stat.S_ISREG(facts.st_mode):
        return f"expected a regular file at {path}, got something else: name the file itself"
    if not hasattr(os, "geteuid"):  # no POSIX owner or permission bits: the folder's own rules protect it
        return None
    if facts.st_uid != os.geteuid():
        return (
            f"expected {path} to belong to user {os.geteuid()}, got owner {facts.st_uid}: "
            "copy it as the user who runs marl"
        )
    if facts.st_mode & 0o077:
        return (
            f"expected {path} to be readable by its owner only (0600), got {stat.S_IMODE(facts.st_mode):04o}: "
            f"run chmod 600 {path}, and change the key if others used this machine"
        )
    return None


def _write_beside(path: Path, content: Secret) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content.reveal())
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":  # a new name is safe only once its folder is on disk
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _explained(path: Path, advice: str = _MOVE_HOME) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeyFileError(f"expected to write {path}, got {error.strerror or error}: {advice}") from error
