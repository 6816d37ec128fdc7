"""Single settings as the command line gives them: ``--set key.path=value``."""

import contextlib
import tomllib
from typing import Any

from marl.config.plain import KWARGS, from_plain
from marl.errors import ConfigError
from marl.files import parse_toml


def parse_override(text: str) -> tuple[str, Any]:
    """``key.path=value``, the value as TOML writes it; what is not TOML is taken as text.

    Raises:
        ConfigError: there is no equals sign.
    """
    path, separator, value = text.partition("=")
    if not separator or not path.strip():
        raise ConfigError(f"--set: expected key.path=value, got {text!r}")
    path, value = path.strip(), value.strip()
    if value == "None":
        return path, None
    try:
        found = parse_toml(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        with contextlib.suppress(ValueError):
            return path, float(value)  # .7 is a number to people, though not to TOML
        return path, value
    except ValueError as error:
        raise ConfigError(f"--set {path}: expected a value of a setting, got one that is none: {error}") from error
    if path == KWARGS and isinstance(found, dict):
        return path, {key: from_plain(each, f"{path}.{key}") for key, each in found.items()}
    return path, from_plain(found, path)
