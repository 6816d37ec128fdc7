"""The folder in which keys, tickets and known nodes are found without a flag."""

import os
import sys
from pathlib import Path

from marl.errors import KeyFileError


def marl_home() -> Path:
    """The folder of this user's key, ticket and known nodes: ``$MARL_HOME``, or the platform's place for settings.

    Raises:
        KeyFileError: the user has no home folder.
    """
    if given := os.environ.get("MARL_HOME"):
        return Path(given).absolute()  # environments may change the working folder
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "marl"
        variable, usual = ("APPDATA", ("AppData", "Roaming")) if os.name == "nt" else ("XDG_CONFIG_HOME", (".config",))
        settings = Path(os.environ.get(variable, ""))
        return (settings if settings.is_absolute() else Path.home().joinpath(*usual)) / "marl"
    except RuntimeError as error:
        raise KeyFileError("expected a home folder for keys, got a user without one: set MARL_HOME") from error
