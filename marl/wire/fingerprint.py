"""A short name for a network, equal on two nodes only if their weights mean the same."""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from marl.data.spaces import Spaces
from marl.data.stored import as_plain
from marl.errors import PluginError


def fingerprint(
    network: nn.Module, *, settings: Mapping[str, Any], spaces: Spaces, sources: Mapping[str, str] | None = None
) -> str:
    """Hash (64 hexadecimal digits) of everything that gives the flat vector of weights its meaning.

    Args:
        settings: of the network, as plain data.
        sources: text of each plug-in module that takes part, by name; see ``sources_of``.
    """
    tensors = [*network.named_parameters(), *network.named_buffers()]
    described = {
        "tensors": [[name, list(tensor.shape), str(tensor.dtype)] for name, tensor in tensors],
        "settings": settings,
        "spaces": as_plain(spaces),
        "sources": sources or {},
    }
    # JSON writes a float so that it can be read back exactly: equal text means equal numbers.
    text = json.dumps(described, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sources_of(modules: Iterable[str]) -> dict[str, str]:
    """Source text of imported modules, with line ends that do not depend on the machine.

    Raises:
        PluginError: a module has no source to compare.
    """
    return {name: _source(name) for name in modules}


def _source(name: str) -> str:
    module = sys.modules.get(name)
    if module is None:
        raise PluginError(f"expected {name} to be imported before it is compared: import it first")
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise PluginError(f"cannot compare {name} with the other node: no source ({error})") from error
    return "\n".join(source.splitlines())
