"""What the settings of every exchange begin with, and how a setting is refused."""

from dataclasses import dataclass

from marl.errors import ConfigError


@dataclass(frozen=True)
class SettingsPart:
    """One group of the settings ``exchange.*``; each exchange's folder has its own."""

    name: str = ""  # "weights", "pairwise", "experience", "observations", or your own package.module:Class

    def validate(self) -> None:
        """Refuse numbers that can never work.

        Raises:
            ConfigError: there is one.
        """


def demand(holds: bool, key: str, expected: str, got: object) -> None:
    """Refuse a setting.

    Args:
        key: its whole path, such as ``exchange.clip``.

    Raises:
        ConfigError: it does not hold.
    """
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, got {got!r}")
