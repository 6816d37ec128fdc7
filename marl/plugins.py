"""Code that is not marl's own: found by its name, ``package.module:object``, and kept from disturbing what is."""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
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
        raise PluginError(f"{described(module)} has no {attribute!r}{hidden(module) or _remedy(module)}") from None


def load_module(module_name: str) -> ModuleType:
    """Import ``module_name``, looking in the current folder too.

    Raises:
        PluginError: there is no such module, or its own code failed.
    """
    if module_name == "__main__":
        raise PluginError(
            "expected a module that every process can import, got '__main__', which is another one in each: "
            "put the code into a file of its own, such as mine.py, and name it mine:object"
        )
    if module_name.endswith(".py") or "/" in module_name or os.sep in module_name:
        written = Path(module_name.removesuffix(".py"))
        dotted = ".".join(part for part in written.parts if part not in (written.anchor, ".", ".."))
        raise PluginError(
            f"expected the name of a module, got the file {module_name!r}: write {dotted}:object "
            "in the folder where that begins"
        )
    folder = os.getcwd()
    if module_name not in sys.modules and folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)
    try:
        with foreign_code(module_name):
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"no module named {error.name!r} (for {module_name!r}): {_where_to_look(error.name)}"
        ) from error
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
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


@contextlib.contextmanager
def foreign_code(name: str) -> Iterator[None]:
    """Around code that is not ours: what it prints goes to standard error, and a folder that it changes to is left.

    Paths are the user's, from the folder where the command was started; standard output is the command's.

    Raises:
        PluginError: it has changed torch's defaults.
    """
    folder = os.getcwd()
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        if torch is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)  # a worker has one core, and sums on two have other bits
    _demand_defaults(name)


def _demand_defaults(name: str) -> None:
    torch = sys.modules.get("torch")
    if torch is None:
        return
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    for what, came, expected in (("dtype", dtype, torch.float32), ("device", device.type, "cpu")):
        if came != expected:
            raise PluginError(
                f"expected torch's default {what} to be {expected}, got {came}, which {name} or your program sets: "
                f"leave torch.set_default_{what} out, and give {what}= where tensors are made"
            )


def described(module: ModuleType) -> str:
    """A module's name, and the file that was imported under it."""
    if file := getattr(module, "__file__", None):
        return f"module {module.__name__!r} ({file})"
    folders = list(getattr(module, "__path__", []))
    return f"module {module.__name__!r} ({f'the folder {folders[0]}' if folders else 'a part of Python'})"


def hidden(module: ModuleType) -> str:
    """Whether the user may have meant another file than the one that was imported; empty if not."""
    stem = Path(*module.__name__.split("."))
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        file = getattr(module, "__file__", None)
        if candidate.is_file() and (file is None or not candidate.samefile(file)):
            return f", which hides your {candidate}: give that another name"
    return ""


def _remedy(module: ModuleType) -> str:
    if getattr(module, "__file__", None) is None and getattr(module, "__path__", None):
        return ": the folder has no __init__.py; name a file in it, package.module:object"
    return ": check the part after the colon"


def _where_to_look(name: str | None) -> str:
    """For a module that is not found: where a file of that name lies, if it is near."""
    if name and "." not in name:
        for file in sorted(Path().glob(f"*/{name}.py"))[:1]:
            return f"there is {file}, whose name is {file.parent.name}.{name}"
    return "install it, or run from the folder that holds it"
