"""A sink of one's own: a row of a table for each evaluation, beside the last losses.

    marl train CartPole-v1 --set 'report.sinks=["events","metrics","terminal","examples.own_sink:Table"]'

It hears every event of ``marl.reports.events`` in a thread of its own. It may take its time or fail: the run goes on.
"""

import csv

from marl.reports.events import Evaluated, Event, Status
from marl.reports.sinks.sink import Facts


class Table:
    """Writes ``table.csv`` into the run folder."""

    def begin(self, facts: Facts) -> None:
        """Called once, before anything is played; a resumed run goes on with its table."""
        self._path, self._losses = facts.folder / "table.csv", {"policy_loss": float("nan")}

    def on(self, event: Event) -> None:
        """Called for each event, one after another."""
        match event:
            case Status():
                self._losses |= event.metrics
            case Evaluated():
                with self._path.open("a", newline="") as file:
                    csv.writer(file).writerow([event.steps, event.mean, self._losses["policy_loss"]])

    def close(self) -> None:
        """Called at the end; each row is on disk already."""


if __name__ == "__main__":
    from marl.api import train

    sinks = ["events", "metrics", "terminal", "examples.own_sink:Table"]
    print(train("CartPole-v1", settings={"report.sinks": sinks, "seed": 1}).reason)
