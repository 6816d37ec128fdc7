"""Values that neither TOML nor JSON can hold, written as a table that says what they are.

    None      {none = true}               (8, 8)               {tuple = [8, 8]}
    inf       {float = "inf"}             numpy.array([1.0])   {array = [1.0], dtype = "float64"}

So the keyword arguments of an environment are the same in training, in evaluation, on children and after a resume.
What cannot be written is refused before anything starts.
"""

from typing import Any

import numpy as np

from marl.errors import ConfigError
from marl.wire.header import MAX_INT
from marl.wire.hello import MAX_DEPTH
from marl.words import printable

KWARGS = "environment.kwargs"
NONE = {"none": True}
DEPTH = MAX_DEPTH - 2  # of one argument: the section and the table of arguments are the two levels above it
NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float16", "float32", "float64")


def kwargs_to_plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    """``to_plain`` of each keyword argument.

    Raises:
        ConfigError: one cannot be written.
    """
    return {_key(key, KWARGS): to_plain(value, f"{KWARGS}.{key}") for key, value in kwargs.items()}


def survived(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as they come back from a file, from those that a file or a user's program gives.

    Raises:
        ConfigError: one cannot be written.
    """
    given = {key: from_plain(value, f"{KWARGS}.{key}") for key, value in kwargs.items()}
    return {key: from_plain(value, f"{KWARGS}.{key}") for key, value in kwargs_to_plain(given).items()}


def to_plain(value: Any, where: str, depth: int = DEPTH) -> Any:
    """Numbers, texts, lists and tables, from which ``from_plain`` makes the same value again.

    numpy's single numbers become Python's, which are equal to them.

    Args:
        where: the key, for the message.
        depth: how many levels ``value`` may have.

    Raises:
        ConfigError: it cannot be written.
    """
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    if depth < 0:
        raise ConfigError(f"{where}: expected at most {DEPTH} levels of lists and tables, got more")
    if kind is bool or (kind is int and -MAX_INT <= value <= MAX_INT) or (kind is str and _is_unicode(value)):
        return value
    if kind is float:
        return value if np.isfinite(value) else {"float": repr(value)}
    if value is None:
        return dict(NONE)
    if kind is list:
        return [to_plain(each, f"{where}[{index}]", depth - 1) for index, each in enumerate(value)]
    if kind is tuple:
        return {"tuple": to_plain(list(value), where, depth - 1)}
    if kind is dict and not is_tag(value):
        return {_key(key, where): to_plain(each, f"{where}.{key}", depth - 1) for key, each in value.items()}
    if kind is np.ndarray and value.dtype.name in NUMBERS and value.size:
        return {"array": to_plain(value.tolist(), where, depth - 1), "dtype": value.dtype.name}
    raise ConfigError(
        f"{where}: expected what a file can hold (text, numbers of 64 bits, true or false, None, lists, tuples, "
        f"numpy arrays of numbers, tables with texts as keys), got {_words(value)}: let the environment make it"
    )


def from_plain(value: Any, where: str, depth: int = DEPTH) -> Any:
    """The inverse of ``to_plain``; values of other kinds stay as they are.

    Raises:
        ConfigError: a table says that it is something that it is not.
    """
    if depth < 0:
        raise ConfigError(f"{where}: expected at most {DEPTH} levels of lists and tables, got more")
    if isinstance(value, list):
        return [from_plain(each, where, depth - 1) for each in value]
    if not isinstance(value, dict):
        return value
    if not is_tag(value):
        return {key: from_plain(each, f"{where}.{key}", depth - 1) for key, each in value.items()}
    if "none" in value:
        return None
    if "float" in value:
        return float(value["float"])
    if "tuple" in value:
        return tuple(from_plain(value["tuple"], where, depth - 1))
    try:
        return np.array(from_plain(value["array"], where, depth - 1), value["dtype"])
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where}: expected numbers of {value['dtype']} in equal rows, {error}") from error


def is_tag(value: Any) -> bool:
    """Whether a table stands for a value that files lack."""
    if not isinstance(value, dict):
        return False
    match value:
        case {"none": True} | {"float": "inf" | "-inf" | "nan"} | {"tuple": list()}:
            return len(value) == 1
        case {"array": _, "dtype": str(name)}:
            return len(value) == 2 and name in NUMBERS
    return False


def _key(key: object, where: str) -> str:
    if type(key) is str and _is_unicode(key) and key == printable(key):
        return key
    raise ConfigError(f"{where}: expected texts as keys, got {key!r:.80}: let the environment make such a table")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _words(value: object) -> str:
    if isinstance(value, (int, dict, str)):
        return f"{type(value).__name__} {value!r:.60}"
    return "an empty array" if isinstance(value, np.ndarray) and not value.size else type(value).__name__
