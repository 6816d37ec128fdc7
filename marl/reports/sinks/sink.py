"""What a sink is, and what it is told of its run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from marl.reports.events import Event


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
    second or two only for a sink with a longer ``patience_s``: its files lie on the disk of the weights.
    """

    def begin(self, facts: Facts) -> None:
        """The run is about to begin."""

    def on(self, event: Event) -> None:
        """Something has happened."""

    def close(self) -> None:
        """Nothing more will happen: write what is left. There is about a second for it."""
