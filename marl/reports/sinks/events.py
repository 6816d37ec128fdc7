"""``events.jsonl``: every event of a run but ``Progress``, one JSON object a line."""

from typing import Any

import msgspec
import numpy as np

from marl.reports.events import Event, Progress
from marl.reports.jsonl import MAX_LINE, JsonLines
from marl.reports.run_folder import RunFolder
from marl.reports.sinks.sink import Facts


class EventLines:
    """Writes them as they come."""

    patience_s = 10.0  # a busy machine may need them

    def begin(self, facts: Facts) -> None:
        """Lines are added to those of the run that is resumed."""
        self._lines, self._note = JsonLines(RunFolder(facts.folder).events, "events"), facts.note

    def on(self, event: Event) -> None:
        """Write a line."""
        if isinstance(event, Progress):
            return
        line = msgspec.json.encode(event, enc_hook=_summary)
        if len(line) < MAX_LINE and (warning := self._lines.add(line)):
            self._note(warning)

    def close(self) -> None:
        """All is written already."""


def _summary(value: Any) -> Any:
    """What a line says of an array: it has to stay short, however fast episodes end."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError
    numbers = {"mean": value.mean(), "std": value.std(), "min": value.min(), "max": value.max()}
    return {"count": value.size, **{name: float(number) for name, number in numbers.items()}}
