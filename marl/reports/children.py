"""The rows of the live table: one child each."""

from collections.abc import Sequence
from typing import NamedTuple

from marl.reports.child_view import bytes_text

COLUMNS = ("child", "state", "workers", "steps/s", "return", "version", "answer", "traffic", "ping")


class ChildRow(NamedTuple):
    """One child at one moment; None where nothing is known."""

    address: str
    state: str
    workers: int | None = None
    steps_per_second: float | None = None
    return_mean: float | None = None
    version: int | None = None  # of the weights that it has
    answer_age: float | None = None  # seconds since its last answer
    bytes_per_second: float | None = None  # up and down together
    round_trip: float | None = None  # seconds


def cells(row: ChildRow) -> tuple[str, ...]:
    """A row as text, in the order of ``COLUMNS``."""
    return (
        row.address,
        row.state,
        "-" if row.workers is None else f"{row.workers}",
        "-" if row.steps_per_second is None else f"{row.steps_per_second:,.0f}",
        "-" if row.return_mean is None else f"{row.return_mean:,.1f}",
        "-" if row.version is None else f"{row.version}",
        "-" if row.answer_age is None else f"{row.answer_age:.1f} s ago",
        "-" if row.bytes_per_second is None else f"{bytes_text(row.bytes_per_second)}/s",
        "-" if row.round_trip is None else f"{1000 * row.round_trip:.1f} ms",
    )


def summary(rows: Sequence[ChildRow]) -> str:
    """All rows in a few words, for a line of a log."""
    here = sum(row.state == "training" for row in rows)
    versions = [row.version for row in rows if row.version is not None]
    return f"children {here}/{len(rows)}" + (f"  version {max(versions)}" if versions else "")
