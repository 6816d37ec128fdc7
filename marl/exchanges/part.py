"""The common base of all groups of exchange settings, and the check of one setting."""

from dataclasses import dataclass

from marl.errors import ConfigError


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
