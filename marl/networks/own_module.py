"""A part of a network that a user's import path names, ``package.module:Class``: found, made from a seed, tried."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from marl.data.layout import Values, mapped
from marl.errors import MarlError, PluginError
from marl.plugins import load_object

TIMES, ROWS = 3, 2  # of a trial


def own_module(setting: str, name: str, torch_seed: int, **arguments: Any) -> nn.Module:
    """The class of that name, made with these arguments in their order; what torch draws meanwhile follows its seed.

    Args:
        setting: that has the name, for the message.

    Raises:
        PluginError: there is no such class, or it cannot be made.
    """
    made = load_object(name)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise PluginError(f"{setting}: expected a class that derives from torch.nn.Module, {name} is {made!r:.80}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed)  # which the layers of torch itself draw from
            module: nn.Module = made(*arguments.values())
    except MarlError:
        raise
    except Exception as error:  # whatever a user's constructor does
        raise PluginError(
            f"{setting}: {name}({', '.join(arguments)}) failed: {type(error).__name__}: {error}"
        ) from error
    return module


def demand_size(setting: str, name: str, module: nn.Module) -> int:
    """How many features a part makes of each row.

    Raises:
        PluginError: it does not say.
    """
    size = getattr(module, "size", None)
    if not isinstance(size, int) or size < 1:
        raise PluginError(f"{setting}: expected {name} to have a size, the number of its features, got {size!r:.80}")
    return size


def demand_shape(
    who: str,
    method: str,
    seen: Values,
    expected: tuple[int, ...],
    answer: Callable[[], Tensor],
    *,
    remedy: str,
    what: str = "observations",
) -> None:
    """Refuse what a user has written before any process starts rather than in the first batch.

    Args:
        who: the settings that name it, and its name.
        answer: what ``method`` makes of ``seen``; ``what`` that is, in a word.
        remedy: what to do, in words that end the message.

    Raises:
        PluginError: it fails, or its shape is not the ``expected`` one.
    """
    asked = f"{who}: expected {method} to make {list(expected)} of {what} {mapped(lambda each: list(each.shape), seen)}"
    try:
        with torch.no_grad():
            shape = tuple(answer().shape)
    except MarlError:
        raise
    except Exception as error:
        raise PluginError(f"{asked}, it failed: {type(error).__name__}: {error}") from error
    if shape != expected:
        raise PluginError(f"{asked}, got {list(shape)}: {remedy}")
