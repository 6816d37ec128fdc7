"""The common base of all groups of exchange settings, and the check of one setting."""

from dataclasses import dataclass, field, fields
from typing import Any

from marl.errors import ConfigError

LATER = "later"  # in the metadata of a setting: nodes of earlier builds do not know it


def later(default: object) -> Any:
    """A setting that is offered to a child only if it is not ``default``: earlier builds refuse unknown ones."""
    return field(default=default, metadata={LATER: True})


@dataclass(frozen=True)
class SettingsPart:
    """One group of the settings ``exchange.*``; each exchange's folder has its own."""

    name: str = ""  # "weights", "gradients", "pairwise", "experience", "observations", or your own package.module:Class

    def validate(self) -> None:
        """Refuse numbers that can never work.

        Raises:
            ConfigError: a number can never work.
        """


def demand(holds: bool, key: str, expected: str, got: object) -> None:
    """Refuse a setting unless ``holds``.

    Args:
        key: its whole path, such as ``exchange.clip``.

    Raises:
        ConfigError: ``holds`` is false.
    """
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, got {got!r}")


def unsaid(settings: SettingsPart) -> list[str]:
    """Names of the settings that a child need not be told, see ``later``."""
    return [
        each.name
        for each in fields(settings)
        if LATER in each.metadata and getattr(settings, each.name) == each.default
    ]
