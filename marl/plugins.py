"""Import an object by its name, ``package.module:object``, and say clearly when that fails."""

import importlib
import os
import sys
from typing import Any

from marl.errors import PluginError


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
