"""Finds the exchange class of a name."""

import dataclasses
from importlib import import_module

from marl.errors import ConfigError, PluginError
from marl.exchanges.auto import Auto
from marl.exchanges.base import Exchange
from marl.exchanges.names import AUTO, EXCHANGES
from marl.plugins import load_object


def exchange_class(name: str) -> type[Exchange]:
    """The class of one of ``EXCHANGES``, or of a user's own ``package.module:Class``.

    Raises:
        ConfigError: no class has that name, or the class is no exchange.
        PluginError: the class lacks a method.
    """
    if name == AUTO:
        return Auto
    if name in EXCHANGES:
        module, _, attribute = EXCHANGES[name].partition(":")
        found: type[Exchange] = getattr(import_module(module), attribute)
        return found
    if ":" not in name:
        known = ", ".join([*EXCHANGES, AUTO])
        raise ConfigError(f"exchange.name: expected one of {known}, or your own package.module:Class, got {name!r}")
    own = load_object(name)
    if not (isinstance(own, type) and issubclass(own, Exchange) and dataclasses.is_dataclass(own)):
        raise ConfigError(
            f"exchange.name: expected a frozen dataclass that derives from marl.exchanges.base.Exchange, "
            f"{name} is {own!r:.80}"
        )
    if missing := sorted(own.__abstractmethods__):
        raise PluginError(f"{name} lacks {' and '.join(missing)}: see marl.exchanges.base.Exchange")
    return own
