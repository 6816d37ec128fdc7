"""Names of code in settings that somebody else wrote: found before anything is imported."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from marl.environments.registered import modules_named_in, unasked_module
from marl.errors import PluginError
from marl.plugins import ANYTHING, covers, lacking

MAX_ARGUMENTS = 10_000  # bytes of an environment's arguments in a file of somebody else's, as JSON

# What a text that may name code stands for, by its section and key.
_NAMES = {
    ("algorithm", "name"): "algorithm",
    ("environment", "id"): "environment",
    ("network", "name"): "network",
    ("network", "encoder"): "encoder",
    ("network", "core"): "core",
    ("network", "head"): "head",
    ("exploration", "sampler"): "sampler",
    ("exchange", "name"): "exchange",
}


class Refused(NamedTuple):
    """A setting that names code which may not be used."""

    part: str  # "algorithm", "environment", ...
    value: str
    module: str  # that would have to be allowed


def names_in(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(part, text) of every setting whose text may name code, in settings as they were read."""
    for (section, key), part in _NAMES.items():
        inner = tree.get(section)
        if isinstance(inner, Mapping) and isinstance(inner.get(key), str):
            yield part, inner[key]
    report = tree.get("report")
    sinks = report.get("sinks") if isinstance(report, Mapping) else None
    for name in sinks if isinstance(sinks, (list, tuple)) else ():
        if isinstance(name, str):
            yield "sink", name


def find_refused(
    tree: Mapping[str, Any], allow: Collection[str], trusted: Mapping[str, Any] | None = None
) -> Refused | None:
    """The first setting that names code outside of the modules in ``allow``; None if all may be used.

    Call it before ``from_tree``, which imports an algorithm and an exchange by their names.

    Args:
        trusted: settings whose names are allowed too.

    Raises:
        PluginError: an allowed module cannot be imported.
    """
    if ANYTHING in allow:
        return None
    known = set(names_in(trusted or {}))
    for part, name in names_in(tree):
        if (part, name) in known:
            continue
        module = lacking(name, allow) if ":" in name else None
        if module is None and part == "environment":
            module = unasked_module(name.rpartition(":")[2], allow)
        if module is not None:
            return Refused(part, name, module)
    return _refused_arguments(tree, allow, trusted or {})


def demand_allowed(
    tree: Mapping[str, Any], path: object, allow: Collection[str], trusted: Mapping[str, Any] | None = None
) -> None:
    """Refuse the settings in a file that this user did not write here, where they name code outside of ``allow``, hand
    an environment more arguments than settings need, or send run folders to another machine.

    Raises:
        PluginError: they do.
    """
    _demand_few_arguments(tree, path, allow, trusted or {})
    _demand_own_place(tree, path, allow, trusted or {})
    if refused := find_refused(tree, allow, trusted):
        raise PluginError(
            f"{path} needs code of the module {refused.module} ({refused.part} {refused.value!r:.200}), and you did "
            f"not write this file on this machine: if you trust both, repeat with --allow {refused.module}"
        )


def _demand_few_arguments(
    tree: Mapping[str, Any], path: object, allow: Collection[str], trusted: Mapping[str, Any]
) -> None:
    """Gymnasium's own environments make a thousand times as much of some arguments, and evaluation many of them."""
    kwargs = _value(tree, "environment", "kwargs")
    if ANYTHING in allow or _repeats(trusted, "environment", "kwargs", kwargs):
        return
    size = len(msgspec.json.encode(kwargs))
    if size > MAX_ARGUMENTS:
        raise PluginError(
            f"{path}: expected at most {MAX_ARGUMENTS / 1000:g} kB of environment.kwargs in a file that you did not "
            f"write on this machine, got {size / 1000:,.1f} kB: if you trust the file, repeat with --allow '{ANYTHING}'"
        )


def _demand_own_place(
    tree: Mapping[str, Any], path: object, allow: Collection[str], trusted: Mapping[str, Any]
) -> None:
    """A run folder holds what differs from the last commit of the user's code."""
    runs = _value(tree, "report", "runs")
    if ANYTHING in allow or _repeats(trusted, "report", "runs", runs):
        return
    if isinstance(runs, str) and "://" in runs:
        raise PluginError(
            f"{path} sends run folders to {runs!r:.200}, and you did not write this file on this machine: name the "
            f"place yourself with --runs"
        )


def _refused_arguments(tree: Mapping[str, Any], allow: Collection[str], trusted: Mapping[str, Any]) -> Refused | None:
    kwargs, name = _value(tree, "environment", "kwargs"), _value(tree, "environment", "id")
    if _repeats(trusted, "environment", "kwargs", kwargs):
        return None
    for module in modules_named_in(kwargs, str(name or "").rpartition(":")[2]):
        if not covers(allow, module):
            return Refused("environment", f"environment.kwargs = {kwargs}", module)
    return None


def _value(tree: Mapping[str, Any], section: str, key: str) -> Any:
    inner = tree.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None


def _repeats(trusted: Mapping[str, Any], section: str, key: str, value: Any) -> bool:
    """Whether a setting is what trusted settings say, too."""
    return isinstance(trusted.get(section), Mapping) and bool(_value(trusted, section, key) == value)
