"""What code gymnasium runs for an environment that is named without a module, or handed a name as an argument."""

import re
import sys
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from typing import Any

import gymnasium

from marl.plugins import covers

_PATH = re.compile(r"([^\W\d]\w*)(\.[^\W\d]\w*)*")  # package.module


def unasked_module(identifier: str, allow: Collection[str]) -> str | None:
    """The module that making a registered environment would import, where it is neither gymnasium's, nor loaded with
    gymnasium as an installed plug-in is, nor allowed; None if there is none.
    """
    for point in _entry_points(identifier):
        module = point.partition(":")[0]
        package = module.partition(".")[0]
        if package != "gymnasium" and package not in sys.modules and not covers(allow, module):
            return module
    return None


def modules_named_in(kwargs: Any, identifier: str) -> Iterator[str]:
    """Modules that texts in an environment's keyword arguments may name: some environments import what these say.

    ``module:anything`` always counts, ``module.name`` where there is such a module, and a single word where there is
    and the environment is not one of gymnasium's own.
    """
    own = all(point.startswith("gymnasium.") for point in _entry_points(identifier))
    for text in _texts(kwargs):
        module, colon, _ = text.partition(":")
        if not _PATH.fullmatch(module):
            continue
        if colon or (("." in module or not own) and _is_importable(module.partition(".")[0])):
            yield module


def _entry_points(identifier: str) -> list[str]:
    spec = gymnasium.registry.get(identifier)
    if spec is None:
        return []
    points = [spec.entry_point, spec.vector_entry_point, *(each.entry_point for each in spec.additional_wrappers)]
    return [point if isinstance(point, str) else f"{point.__module__}:" for point in points if point is not None]


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]  # no recursion: files may nest deeply
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, (list, tuple)):
            waiting += each


def _is_importable(package: str) -> bool:
    try:
        return package in sys.modules or find_spec(package) is not None  # a top-level name: nothing is imported
    except ValueError:
        return True
