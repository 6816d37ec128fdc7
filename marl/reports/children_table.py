"""The live table of children: a row each, in as many columns as the terminal has room for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from marl.reports.events import ChildRow
from marl.reports.numbers import bytes_text, number_text

if TYPE_CHECKING:
    from rich.table import Table

# From the most important to the least, which a narrow terminal leaves out, and the width that most values need: so
# the table does not jump about.
COLUMNS = {
    "child": 5,
    "state": 9,
    "cores": 6,
    "steps/s": 7,
    "return": 6,
    "version": 7,
    "answer": 6,
    "traffic": 10,
    "ping": 8,
}
_GAP = 2  # between two columns


def children_table(rows: Sequence[ChildRow], width: int) -> "Table":
    """The rows as a table of at most ``width`` columns of a terminal: address and state always, the rest if there is
    room.
    """
    from rich.table import Table
    from rich.text import Text

    lines = [_cells(row) for row in rows]
    widths = [
        max(usual, *map(len, column)) for usual, column in zip(COLUMNS.values(), zip(*lines, strict=True), strict=True)
    ]
    widths[0] = max(1, min(widths[0], width - _GAP - widths[1]))
    count = len(widths)
    while count > 2 and sum(widths[:count]) + _GAP * (count - 1) > width:
        count -= 1
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for name, needed in list(zip(COLUMNS, widths, strict=True))[:count]:
        justify: Literal["left", "right"] = "left" if name in ("child", "state") else "right"
        table.add_column(name, no_wrap=True, justify=justify, min_width=needed)
    for row, (address, *others) in zip(rows, lines, strict=True):
        # As texts: to rich the brackets of an address of IPv6 would be markup.
        shown = [Text(cell) for cell in (shortened(address, widths[0]), *others[: count - 1])]
        table.add_row(*shown, style="" if row.state == "training" else "yellow")
    return table


def summary(rows: Sequence[ChildRow]) -> str:
    """All rows in a few words, for a line of a log."""
    here = sum(row.state == "training" for row in rows)
    versions = [row.version for row in rows if row.version is not None]
    return f"children {here}/{len(rows)}" + (f"  version {max(versions)}" if versions else "")


def _cells(row: ChildRow) -> tuple[str, ...]:
    """A row as text, in the order of ``COLUMNS``."""
    return (
        row.address,
        row.state,
        "-" if row.workers is None else f"{row.workers}" if row.cores is None else f"{row.workers} of {row.cores}",
        "-" if row.steps_per_second is None else f"{row.steps_per_second:,.0f}",
        "-" if row.return_mean is None else number_text(row.return_mean),
        "-" if row.version is None else f"{row.version}",
        "-" if row.answer_age is None else f"{row.answer_age:.1f} s",
        "-" if row.bytes_per_second is None else f"{bytes_text(row.bytes_per_second)}/s",
        "-" if row.round_trip is None else f"{1000 * row.round_trip:.1f} ms",
    )


def shortened(text: str, length: int) -> str:
    """A text without its middle: children of one machine differ in the port, those of one name in the beginning."""
    if len(text) <= length:
        return text
    end = length // 2
    return text[: length - 1 - end] + "…" + text[len(text) - end :]
