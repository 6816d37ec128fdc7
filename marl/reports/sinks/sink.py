"""What a sink is, and what it is told of its run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from marl.errors import PluginError
from marl.reports.events import Event

MOST_PATIENCE_S = 30.0  # of one sink


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run before it begins; at a child, which serves many, nothing."""

    folder: Path = Path()  # the run folder
    environment: str = ""
    algorithm: str = ""
    exchange: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = {}  # tables of tables, as in config.toml
    steps: int = 0  # environment steps before this start: more than 0 where a run is resumed
    seconds: float = 0.0  # of training, likewise
    plain: bool = False  # the user wants lines on the terminal, no live table
    quiet: bool = False  # the user wants nothing on the terminal
    note: Callable[[str], None] = lambda unused: None  # tells the user a line, and all sinks a ``Warned``


class Sink(Protocol):
    """Hears the events of one run, all in one thread of its own, one after another.

    sink.begin(facts)
    for event in run:
        sink.on(event)
    sink.close()

    It may take its time or raise: the run goes on (``marl.reports.stream``). The end of the run waits longer than a
    second or two only for a sink with an attribute ``patience_s``: that number of seconds, at most ``MOST_PATIENCE_S``.
    """

    def begin(self, facts: Facts) -> None:
        """The run is about to begin."""

    def on(self, event: Event) -> None:
        """Something has happened."""

    def close(self) -> None:
        """Nothing more will happen: write what is left. There is about a second for it."""


def patience_of(name: str, sink: object) -> float:
    """Seconds that the end of the run may wait for this sink; 0: as for any other.

    Raises:
        PluginError: its ``patience_s`` is no such number.
    """
    seconds = getattr(sink, "patience_s", 0.0)
    # A comparison with NaN is false.
    if not isinstance(seconds, int | float) or not 0 <= seconds <= MOST_PATIENCE_S:
        raise PluginError(
            f"report.sinks: expected patience_s of {name} to be 0 to {MOST_PATIENCE_S:g} seconds, got {seconds!r:.80}"
        )
    return float(seconds)
