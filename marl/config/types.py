"""What is said about a value of the wrong type: what was expected, what came, and what to write."""

import dataclasses
import re
import shlex
from typing import Any, get_args, get_type_hints

import msgspec

WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
EXAMPLES = {
    "bool": "true",
    "int": "1",
    "float": "0.5",
    "str": '"text"',
    "array": "[64,64]",
    "object": "{name=1}",
}


def wrong_type(error: msgspec.ValidationError, tree: Any, kind: type, prefix: str) -> str:
    """One line about a value of the wrong type.

    Args:
        error: what the conversion of ``tree`` to the dataclass ``kind`` raised.
        prefix: of every key in ``tree``, such as ``algorithm.``.
    """
    reason, _, place = str(error).partition(" - at `$.")
    place = place.rstrip("`")
    found = re.match(r"Expected `([^`]+)`, got `([^`]+)`", reason)
    if not place or found is None:
        where = f"{prefix}{place}: " if place else ""
        return f"{where}{reason[:1].lower()}{reason[1:]}"
    expected = [name for name in found[1].split(" | ") if name != "null"]
    value = _value_at(tree, place)
    key = f"{prefix}{place.partition('[')[0]}"  # of a list, all of it is written
    words = " or ".join(WORDS.get(name, name) for name in expected)
    text = _meant(value, expected) if "[" not in place else None
    example = text or _default(kind, place.partition("[")[0]) or EXAMPLES.get(expected[0], "VALUE")
    return f"{prefix}{place}: expected {words}, got {_shown(value)}: write --set {shlex.quote(f'{key}={example}')}"


def _value_at(tree: Any, place: str) -> Any:
    """The value that a place such as ``network.hidden[0]`` names; the missing rest is ignored."""
    for part in re.findall(r"[^.\[\]]+", place):
        if isinstance(tree, dict) and part in tree:
            tree = tree[part]
        elif isinstance(tree, (list, tuple)) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            break  # `[...]` stands for any place in a list
    return tree


def _shown(value: Any) -> str:
    """The value as TOML writes it, cut where it is long."""
    text = f'"{value}"' if isinstance(value, str) else _as_toml(value) or repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _meant(value: Any, expected: list[str]) -> str | None:
    """What was probably meant by a value of another type; None where nobody can tell."""
    if "str" in expected and isinstance(value, (int, float, bool)):
        return f'"{_as_toml(value)}"'
    if "array" in expected and isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"[{_as_toml(value)}]"
    if "int" in expected and isinstance(value, float) and value.is_integer():
        return str(int(value))
    if "bool" in expected and value in (0, 1):
        return "true" if value else "false"
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    if "bool" in expected:
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(
            word, word if word in ("true", "false") else None
        )
    if "int" in expected and re.fullmatch(r"[+-]?[0-9_,]{1,18}", word):
        return str(int(word.replace(",", "").replace("_", "") or 0))
    if "float" in expected:
        try:
            return repr(float(word.replace(",", ".")))
        except ValueError:
            return None
    if "array" in expected and re.fullmatch(r"[0-9]{1,9}([ ,x]+[0-9]{1,9})+", word):
        return "[" + ",".join(re.findall(r"[0-9]+", word)) + "]"
    return None


def _default(kind: type, place: str) -> str | None:
    """The default of a setting, as an example of its type."""
    *sections, last = place.split(".")
    for section in sections:
        inner = get_type_hints(kind).get(section)
        candidates = [each for each in (inner, *get_args(inner)) if dataclasses.is_dataclass(each)]
        if not candidates or not isinstance(candidates[0], type):
            return None
        kind = candidates[0]
    for each in dataclasses.fields(kind):
        if each.name == last and each.default not in (dataclasses.MISSING, None, ""):
            return _as_toml(each.default)
    return None


def _as_toml(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, (list, tuple)):
        parts = [_as_toml(each) for each in value]
        return None if None in parts else "[" + ",".join(filter(None, parts)) + "]"
    return None
