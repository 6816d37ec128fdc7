"""``metrics.jsonl``: each status of a run, one JSON object a line."""

import json
import math
from typing import Any

import msgspec

from marl.reports.events import Event, Status
from marl.reports.jsonl import JsonLines
from marl.reports.run_folder import RunFolder
from marl.reports.sinks.sink import Facts


class Metrics:
    """Writes them as they come."""

    patience_s = 10.0  # a busy machine may need them

    def begin(self, facts: Facts) -> None:
        """Lines are added to those of the run that is resumed."""
        self._lines, self._note = JsonLines(RunFolder(facts.folder).metrics, "metrics"), facts.note

    def on(self, event: Event) -> None:
        """Write a line."""
        if not isinstance(event, Status):
            return
        numbers = msgspec.structs.asdict(event)
        del numbers["time"]
        for name in ("virtual_seconds", "speedup"):
            if numbers[name] is None:
                del numbers[name]
        if warning := self._lines.add(json.dumps(_finite(numbers), allow_nan=False).encode()):
            self._note(warning)

    def close(self) -> None:
        """All is written already."""


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: both become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_finite(entry) for entry in value]
    return value
