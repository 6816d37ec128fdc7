"""Single settings as the command line gives them: ``--set key.path=value``."""

import contextlib
import tomllib
from collections.abc import Mapping
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
    return path, settings_from_plain({path: found})[path]


def settings_from_plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their path as ``load_config`` takes them, from what a TOML file says.

    Raises:
        ConfigError: a table says that it is something that it is not.
    """
    return {path: _from_plain(path, value) for path, value in settings.items()}


def _from_plain(path: str, value: Any) -> Any:
    if path == KWARGS and isinstance(value, dict):
        return {key: from_plain(each, f"{path}.{key}") for key, each in value.items()}
    return from_plain(value, path)
