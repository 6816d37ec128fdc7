"""The files of hashes beside this one."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def stored(name: str) -> dict[str, Any]:
    """What NAME.json holds."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def store(name: str, content: dict[str, Any]) -> None:
    """Replace NAME.json."""
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
