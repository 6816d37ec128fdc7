"""The live table of a terminal, drawn over and over."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from marl.reports.children_table import children_table
from marl.reports.events import ChildRow, Ended, Event, Progress, Status, Warned
from marl.reports.numbers import number_text
from marl.reports.sinks.plain import PlainLines, return_text, title
from marl.reports.sinks.sink import Facts
from marl.words import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH_S = 0.25
_TWO_COLUMNS_FROM = 72  # columns of the terminal


class LiveTable:
    """Shows a run on a terminal until that goes away; what there is to say scrolls away above the table."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` limits it to four refreshes a second."""
        self._stream, self._clock = stream, clock
        self._lines = PlainLines(stream)  # for what is said after the end
        self._live: Any = None
        self._gone = False
        self._last: Progress | None = None
        self._shown: Progress | None = None
        self._refreshed_at = -REFRESH_S

    def begin(self, facts: Facts) -> None:
        """Show what is trained, and where."""
        from rich.console import Console
        from rich.live import Live

        self._title = title(facts)
        console = Console(file=self._stream, force_terminal=True, highlight=False)
        # No refresh thread: events come often enough, and nothing then draws by itself.
        self._live = Live(self._picture(), console=console, auto_refresh=False)
        self._guard(self._live.start)
        self._guard(self._live.refresh)

    def on(self, event: Event) -> None:
        """Draw the newest numbers, or write a line for the user."""
        if self._live is None:
            self._lines.on(event)
        elif isinstance(event, Progress):
            self._last = event
            if self._clock() - self._refreshed_at >= REFRESH_S:
                self._show_last()
        elif isinstance(event, Warned):
            text = printable(event.text)
            # Not wrapped by us: a command in it must be copied in one piece.
            self._guard(lambda: self._live.console.print(text, style="yellow", markup=False, soft_wrap=True))
        elif isinstance(event, Ended):
            self.close()

    def close(self) -> None:
        """Draw the last numbers and give the terminal back; may be called twice."""
        if self._live is None:
            return
        if self._last is not self._shown:
            self._show_last()
        live, self._live = self._live, None
        self._guard(live.stop)

    def _show_last(self) -> None:
        self._shown, self._refreshed_at = self._last, self._clock()
        self._guard(lambda: self._live.update(self._picture(), refresh=True))

    def _picture(self) -> "RenderableType":
        last = self._last
        picture = _Picture(self._title, None) if last is None else _Picture(self._title, last.status, last.children)
        return picture  # type: ignore[return-value, unused-ignore]

    def _guard(self, action: Callable[[], object]) -> None:
        """A terminal that went away is written to no more."""
        if self._gone:
            return
        try:
            action()
        except OSError:
            self._gone = True


class _Picture:
    """Lays a status out for the width the terminal has at the moment of drawing."""

    def __init__(self, title: str, status: Status | None, children: Sequence[ChildRow] = ()) -> None:
        self._title, self._status, self._children = title, status, children

    def __rich_console__(self, unused_console: Any, options: Any) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        yield Text(self._title, style="bold", no_wrap=True, overflow="ellipsis")
        status = self._status
        if status is None:
            yield Text("starting ...", style="dim")
            return
        if status.progress is None:
            yield Text(status.stop_text, style="dim", no_wrap=True, overflow="ellipsis")
        else:
            # The bar takes what the words leave; where that is little, the words get their own line.
            percent = f"{int(100 * status.progress):3d} %"
            words = Text(status.stop_text, style="dim", no_wrap=True, overflow="ellipsis")
            beside = options.max_width - len(percent) - len(words) - 2
            bar_width = min(40, beside) if beside >= 12 else max(1, options.max_width - len(percent) - 1)
            bar = Table.grid("percent", "bar", "words", padding=(0, 1), pad_edge=False)
            drawn = ProgressBar(total=1.0, completed=status.progress, width=bar_width)
            if beside >= 12:
                bar.add_row(percent, drawn, words)
                yield bar
            else:
                bar.add_row(percent, drawn)
                yield bar
                yield words

        left, right = _run_rows(status), _learning_rows(status)
        table = Table.grid(padding=(0, 2), pad_edge=False)
        two_columns = options.max_width >= _TWO_COLUMNS_FROM
        for _ in range(2 if two_columns else 1):
            table.add_column(style="dim", no_wrap=True, overflow="ellipsis")
            # Wide enough for most values, so that the right half does not jump about.
            table.add_column(no_wrap=True, overflow="ellipsis", min_width=18 if two_columns else None)
        if two_columns:
            for index in range(max(len(left), len(right))):
                first = left[index] if index < len(left) else ("", "")
                second = right[index] if index < len(right) else ("", "")
                table.add_row(*first, *second)
        else:
            for row in left + right:
                table.add_row(*row)
        yield table
        if self._children:
            yield children_table(self._children, options.max_width)
        else:
            yield Text(f"workers {_workers_text(status.worker_rates)}", no_wrap=True, overflow="ellipsis")


def _run_rows(status: Status) -> list[tuple[str, str]]:
    window = f"return, last {status.window_filled}" if status.window_filled else "return"
    left = "-" if status.seconds_left is None else duration_text(status.seconds_left)
    length = "-" if status.length_mean is None else number_text(status.length_mean)
    speed = f"{status.steps_per_second:,.0f}"
    if status.speedup is not None:
        speed += f" ({status.speedup:.1f} times one machine)"
    return [
        (window, return_text(status)),
        ("episode length", length),
        ("episodes", f"{status.episodes:,}"),
        ("steps", f"{status.steps:,}"),
        ("steps/s", speed),
        ("elapsed", duration_text(status.seconds)),
        ("time left", left),
    ]


def _learning_rows(status: Status) -> list[tuple[str, str]]:
    rows = [(name.replace("_", " "), f"{value:z.4g}") for name, value in status.metrics.items()]
    rows.append(("updates", f"{status.updates:,}"))
    if status.restarts:
        rows.append(("worker restarts", f"{status.restarts:,}"))
    return rows


def _workers_text(rates: tuple[float, ...]) -> str:
    if len(rates) <= 6:
        return "  ".join(f"{rate:,.0f}" for rate in rates) + " steps/s"
    # Many workers: a bar each shows who lags, better than dozens of numbers.
    top = max(max(rates), 1e-9)
    bars = "".join("▁▂▃▄▅▆▇█"[min(int(8 * rate / top), 7)] for rate in rates)
    return f"{min(rates):,.0f} to {max(rates):,.0f} steps/s  {bars}"


def duration_text(seconds: float) -> str:
    """A duration as a person would say it, such as 12.3 s, 4 min 05 s or 2 h 07 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
