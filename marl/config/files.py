"""Where settings come from, and go to: presets and TOML files, with single settings on top."""

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from marl.config.names import demand_allowed
from marl.config.plain import KWARGS, is_tag, kwargs_to_plain, to_plain
from marl.config.presets import preset_tree
from marl.config.rules import validate
from marl.config.settings import Config, from_tree, to_tree
from marl.errors import ConfigError
from marl.files import parse_toml, read_file
from marl.trust.seal import is_own, seal_of
from marl.trust.secret import Secret

MAX_BYTES = 1_000_000  # of a file of settings


def load_config(
    source: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    allow: Collection[str] = (),
    trusted: Mapping[str, Any] | None = None,
) -> Config:
    """Settings from a preset's name, an environment's name or a TOML file, with single keys on top.

    Args:
        allow: modules whose code a file may name that this user did not write on this machine; ``overrides`` may
            name any.
        trusted: settings whose names a file may repeat.

    Raises:
        ConfigError: an unknown key, a value of the wrong kind, or values that contradict each other.
        PluginError: a file names code that is not allowed.
    """
    overrides = dict(overrides or {})
    tree, own = _read(str(source), overrides.get("algorithm.name")) if source is not None else ({}, True)
    tree.pop("measured", None)  # what presets, and copies of them, say about themselves
    if not own:
        unasked = copy.deepcopy(tree)
        for path in overrides:
            _drop(unasked, path)
        demand_allowed(unasked, str(source), allow, trusted)
    for path, value in overrides.items():
        put(tree, path, _written(path, value))
    config = from_tree(tree)
    validate(config)
    to_tree(config)  # what no file can hold shows before anything starts
    return config


def says(section: str, source: str | Path | None, overrides: Mapping[str, Any]) -> bool:
    """Whether single settings, or the file or preset below them, say anything of a section.

    Raises:
        ConfigError: see ``load_config``.
    """
    tree = {} if source is None else _read(str(source), overrides.get("algorithm.name"))[0]
    return bool(tree.get(section)) or any(path.partition(".")[0] == section for path in overrides)


def _written(path: str, value: Any) -> Any:
    """A value that comes from a user's program, as a file would have it: there a table may stand for another value."""
    if isinstance(value, np.generic):
        return value.item()
    if path == KWARGS and isinstance(value, dict):
        return kwargs_to_plain(value)
    if path.startswith(f"{KWARGS}."):
        return to_plain(value, path)
    if path == "environment" and isinstance(value, dict) and "kwargs" in value:
        return {**value, "kwargs": _written(KWARGS, value["kwargs"])}
    return value


def is_bare_name(source: str | Path | None, algorithm: object = None) -> bool:
    """Whether ``source`` names an environment without settings: no file, and no preset."""
    if source is None or is_file(source):
        return False
    return _preset(str(source), algorithm) is None


def to_toml(config: Config, key: Secret | None = None) -> str:
    """The resolved configuration as a file that ``load_config`` reads, sealed where there is a key."""
    lines: list[str] = []
    _write_table(to_tree(config), (), lines)
    text = "\n".join(lines).lstrip("\n") + "\n"
    return text if key is None else f"{text}# {seal_of(key, 'settings', [text.encode()]).decode()}\n"


def _read(source: str, algorithm: object) -> tuple[dict[str, Any], bool]:
    """Settings from a file or preset, and whether their names need no leave; of a preset, those for ``algorithm`` where
    one is asked for.
    """
    path = Path(source)
    if is_file(path):
        try:
            content = read_file(path, MAX_BYTES)
            return _parse(content.decode(), source), _is_own(content)
        except OSError as error:
            raise ConfigError(f"cannot read the configuration file {source}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"cannot read the configuration file {source}: {error}") from error
    tree = _preset(source, algorithm)
    return {"environment": {"id": source}} if tree is None else tree, True


def is_file(source: str | Path) -> bool:
    """Whether settings come from a file of that name, or would."""
    path = Path(source)
    return path.suffix == ".toml" or path.is_file()


def _preset(source: str, algorithm: object) -> dict[str, Any] | None:
    return None if ":" in source else preset_tree(source, algorithm)


def _is_own(content: bytes) -> bool:
    """Whether the last line is this user's seal of all before it."""
    text, found, seal = content.rstrip(b"\r\n").rpartition(b"\n# ")
    return bool(found) and is_own("settings", [text, b"\n"], seal)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except ValueError as error:
        raise ConfigError(f"{source} is not a TOML file of settings: {error}") from error


def _drop(tree: dict[str, Any], path: str) -> None:
    """Forget what the user has set otherwise."""
    *sections, last = path.split(".")
    for section in sections:
        inner = tree.get(section)
        if not isinstance(inner, dict):
            return
        tree = inner
    tree.pop(last, None)


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set one setting by its path in a tree of sections.

    Raises:
        ConfigError: a part of the path is no section there.
    """
    *sections, last = path.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {section} is a value, not a section")
        tree = inner
    tree[last] = value


def _write_table(tree: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    tables = {key: value for key, value in tree.items() if isinstance(value, dict) and not is_tag(value)}
    values = {key: value for key, value in tree.items() if key not in tables}
    if path and (values or not tables):
        lines.append(f"\n[{'.'.join(map(_toml_key, path))}]")
    lines.extend(f"{_toml_key(key)} = {toml_value(value)}" for key, value in values.items())
    for key, value in tables.items():
        _write_table(value, (*path, key), lines)


def _toml_key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isascii() and plain.isalnum() else toml_value(key)


def toml_value(value: Any) -> str:
    """A value as a TOML file has it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {toml_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) or "." in repr(value) else repr(value).replace("e", ".0e")
    text = msgspec.json.encode(value).decode()  # JSON's texts, integers and booleans are TOML's too
    return text.replace("\x7f", "\\u007f")  # but for this character, which TOML wants escaped
