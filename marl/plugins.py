"""Import an object by its name, ``package.module:object``, and say clearly when that fails."""

import importlib
import os
import re
import sys
from collections.abc import Collection
from typing import Any

from marl.errors import PluginError

_MODULE = re.compile(r"[\w-]+(\.[\w-]+)*")
ANYTHING = "*"  # after --allow: code from any module


def load_object(name: str) -> Any:
    """Return the object that ``package.module:object`` names; the current folder counts as importable.

    Raises:
        PluginError: the name is malformed, the module cannot be imported, or it lacks the object.
    """
    module_name, separator, attribute = name.partition(":")
    if not separator or not module_name or not attribute:
        raise PluginError(f"expected package.module:object, got {name!r}")
    module = load_module(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise PluginError(f"module {module_name!r} has no {attribute!r}: check the part after the colon") from None


def load_module(module_name: str) -> Any:
    """Import ``module_name``, looking in the current folder too.

    Raises:
        PluginError: there is no such module, or its own code failed.
    """
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"no module named {error.name!r} (for {module_name!r}): install it, or run from the folder that holds it"
        ) from error
    except Exception as error:
        raise PluginError(f"importing {module_name!r} failed: {type(error).__name__}: {error}") from error


def lacking(name: str, allow: Collection[str]) -> str | None:
    """The module that ``package.module:object`` needs and ``allow`` does not cover; None if the object may be used.

    An object counts as its own module's too: a module that imports ``subprocess.run`` has not been allowed to run
    commands. Nothing is imported that is not allowed.

    Raises:
        PluginError: it names no module, or one that is allowed and cannot be imported.
    """
    module, _, attribute = name.partition(":")
    if not _MODULE.fullmatch(module):  # it is shown as part of a command to type
        raise PluginError(f"expected package.module:object, got {name!r:.100}")
    if not covers(allow, module):
        return module
    if attribute.isidentifier():
        found = getattr(load_module(module), attribute, None)
        defined = str(getattr(found, "__module__", module))
        if not covers(allow, defined):
            return defined
    return None


def covers(allow: Collection[str], module: str) -> bool:
    """Whether one of the allowed modules is this one, or a package that holds it."""
    return ANYTHING in allow or any(module == each or module.startswith(f"{each}.") for each in allow)
