"""Where a user wants a file to be written: looked at before anything is done for it."""

from pathlib import Path

from marl.errors import ConfigError
from marl.files import refuse_special


def demand_file(path: Path, option: str) -> None:
    """Refuse what exists and is no regular file: whatever is written would replace it.

    Raises:
        ConfigError: it is a folder, a symbolic link, a FIFO, a device.
    """
    if path.is_dir():
        raise ConfigError(f"{option}: expected a file to write, {path} is a folder")
    try:
        refuse_special(path)
    except OSError as error:
        raise ConfigError(
            f"{option}: expected a file to write, got {path}: {error.strerror or error}: name another file"
        ) from error


def demand_folder(path: Path, option: str) -> None:
    """Refuse what exists and is no folder.

    Raises:
        ConfigError: it is a file, or a link to nothing.
    """
    if not path.is_dir() and (path.exists() or path.is_symlink()):
        raise ConfigError(f"{option}: expected a folder to write to, {path} is none: name another")
