"""Files that may hold anything: read without waiting, within bounds, as plain data."""

import errno
import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

TOO_DEEP = "lists or tables lie too deep within each other"
TOO_LONG = "an integer has more than 64 bits"
HALF_LETTER = "a text holds half a letter: a surrogate without the other one"
MAX_DEPTH = 32  # of tables and lists within each other
_HALF = re.compile("[\ud800-\udfff]")
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO waits for a writer otherwise
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def open_regular(path: Path) -> int:
    """A descriptor of a regular file, to read.

    Raises:
        OSError: there is none, or something else lies there: a folder, a FIFO, a device.
    """
    return _regular(os.open(path, os.O_RDONLY | _NONBLOCK | _BINARY), path)


def open_to_append(path: Path) -> int:
    """A descriptor of a regular file of this name, to add to; the file is made if there is none.

    Raises:
        OSError: it cannot be, or something else lies there: a symbolic link, a FIFO, a device.
    """
    refuse_special(path)  # a FIFO without a reader has an error of its own; and there are systems without O_NOFOLLOW
    return _regular(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NOFOLLOW | _NONBLOCK | _BINARY, 0o666), path)


def refuse_special(path: Path) -> None:
    """Refuse what exists and is no regular file: to write it would change something else, or wait for ever.

    Raises:
        OSError: it is a symbolic link, a folder, a FIFO, a device.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, _what(mode), str(path))


def _regular(descriptor: int, path: Path) -> int:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _what(mode), str(path))
    return descriptor


def _what(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "it is a folder"
    return "it is a symbolic link" if stat.S_ISLNK(mode) else "it is no regular file"


def read_file(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read, is no regular file, or is longer than ``max_bytes``.
    """
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > max_bytes else file.read(max_bytes + 1)
    if size > max_bytes or len(content) > max_bytes:
        raise OSError(
            errno.EFBIG, f"it has {max(size, len(content)):,} bytes, expected at most {max_bytes:,}", str(path)
        )
    return content


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is no JSON, or says what no setting or counter can be.
    """
    try:
        return _plain(json.loads(text if isinstance(text, str) else text.decode()))
    except (RecursionError, ValueError) as error:
        raise _explained(error) from None


def parse_toml(text: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        ValueError: it is no TOML, or says what no setting can be.
    """
    try:
        tree: dict[str, Any] = _plain(tomllib.loads(text))
    except (RecursionError, ValueError) as error:
        raise _explained(error) from None
    return tree


def _explained(error: Exception) -> Exception:
    """In the words of a user, where Python advises how to program."""
    if isinstance(error, RecursionError):
        return ValueError(TOO_DEEP)
    return ValueError(TOO_LONG) if "set_int_max_str_digits" in str(error) else error


def _plain(tree: Any) -> Any:
    """``tree`` itself, once every number in it fits 64 bits, every text is one and nothing lies too deep."""
    waiting = [(tree, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise ValueError(TOO_LONG)
        if isinstance(value, str) and _HALF.search(value):
            raise ValueError(HALF_LETTER)
        if not isinstance(value, (dict, list)):
            continue
        if depth == MAX_DEPTH:
            raise ValueError(TOO_DEEP)
        waiting += [(each, depth + 1) for each in value]  # the keys, of a table
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for each in value.values()]
    return tree
