"""What a picture says of a run: read from the run's own settings, of which nothing is imported or made."""

import math
import tomllib
from pathlib import Path
from typing import NamedTuple

_MOST = 2**20  # bytes of settings


class Labels(NamedTuple):
    """None where the settings do not say, or cannot be read."""

    environment: str | None = None
    algorithm: str | None = None
    solved_return: float | None = None


def read_labels(config: Path) -> Labels:
    """The labels in a run's ``config.toml``."""
    try:
        with open(config, "rb") as file:
            tree = tomllib.loads(file.read(_MOST).decode())
        environment, algorithm = tree["environment"], tree["algorithm"]
        name, solved, learned = environment.get("id"), environment.get("solved_return"), algorithm.get("name")
        threshold = float(solved) if isinstance(solved, (int, float)) else math.nan
    except (OSError, ValueError, LookupError, AttributeError, OverflowError, RecursionError):
        return Labels()
    return Labels(
        name if isinstance(name, str) else None,
        learned if isinstance(learned, str) else None,
        threshold if math.isfinite(threshold) else None,
    )
