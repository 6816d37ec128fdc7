"""What happened, one JSON line an event, for a checker to read afterwards; nothing unless the environment asks for it.

``MARL_HISTORY=FOLDER`` makes every process append to a file of its own there. Weights are named by their hash, and kept
beside the lines under that name: a checker can average them again.
"""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from marl.digests import name_of

VARIABLE = "MARL_HISTORY"

_folder = Path(os.environ[VARIABLE]).absolute() if os.environ.get(VARIABLE) else None
_lock = threading.Lock()  # guards _count and the file
_count = 0


def recording() -> bool:
    """Whether anybody wants to know: preparing an event may cost something."""
    return _folder is not None


def record(event: str, *, weights: Tensor | None = None, **facts: Any) -> None:
    """Write down that something happened, with weights that it is about."""
    if _folder is None:
        return
    global _count
    if weights is not None:
        data = weights.numpy().tobytes()
        facts["hash"] = name_of(data)
        kept = _folder / f"{facts['hash']}.weights"
        if not kept.exists():
            temporary = kept.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(data)
            os.replace(temporary, kept)
    with _lock:
        _count += 1
        line = {"event": event, "process": os.getpid(), "number": _count, "time": time.monotonic(), **facts}
        with open(_folder / f"{os.getpid()}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
