"""The terminal while a run trains: a live table, or plain lines where there is no terminal."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from marl.reports.children import children_table, summary
from marl.reports.events import ChildRow, Status
from marl.reports.numbers import number_text, spread_text
from marl.words import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH_S = 0.25
_TWO_COLUMNS_FROM = 72  # columns of the terminal


class LiveView:
    """Shows a run to a person; without a terminal it writes plain lines.

    with LiveView(environment="CartPole-v1", algorithm="a3c", run_folder="runs/x") as view:
        view.note("worker 3 was started again")
        view.show(status)
    """

    def __init__(
        self,
        *,
        environment: str,
        algorithm: str,
        run_folder: str,
        stop_text: str = "",
        plain: bool = False,
        quiet: bool = False,
        plain_every: float = 2.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            plain: write lines even on a terminal.
            quiet: write nothing at all.
            plain_every: seconds of training between two plain lines.
            stream: where to write; standard output if None.
            clock: limits the live table to four refreshes a second.
        """
        self._title = " · ".join(part for part in (environment, algorithm, run_folder) if part)
        self._stop_text = stop_text
        self._stream: TextIO = sys.stdout if stream is None else stream
        self._silent = quiet
        self._plain = plain or not self._stream.isatty() or os.environ.get("TERM") == "dumb"
        self._plain_every = plain_every
        self._clock = clock
        self._live: Any = None
        self._last: Status | None = None
        self._children: Sequence[ChildRow] = ()
        self._shown: Status | None = None
        self._refreshed_at = -REFRESH_S

    def __enter__(self) -> "LiveView":
        if self._silent:
            return self
        if self._plain:
            self._write(" · ".join(part for part in (self._title, self._stop_text) if part))
            return self
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, force_terminal=True, highlight=False)
        # No refresh thread: the caller's shows are often enough, and nothing then draws on its own.
        self._live = Live(self._picture(None), console=console, auto_refresh=False)
        self._guard(self._live.start)
        self._guard(self._live.refresh)
        return self

    def __exit__(
        self,
        unused_kind: type[BaseException] | None,
        unused_error: BaseException | None,
        unused_traceback: TracebackType | None,
    ) -> None:
        self.close()

    def show(self, status: Status, children: Sequence[ChildRow] = ()) -> None:
        """Show the newest status, and a row for each child; may be called as often as one likes."""
        self._last, self._children = status, children
        if self._silent:
            return
        if self._plain:
            if self._shown is None or status.seconds - self._shown.seconds >= self._plain_every:
                self._show_last()
        elif self._clock() - self._refreshed_at >= REFRESH_S:
            self._show_last()

    def note(self, text: str) -> None:
        """Say something once, such as a warning; on a terminal it scrolls away above the table."""
        if self._silent:
            return
        text = printable(text)
        if self._live is None:
            self._write(text)
            return
        # Not wrapped by us: a command in it must be copied in one piece.
        self._guard(lambda: self._live.console.print(text, style="yellow", markup=False, soft_wrap=True))

    def close(self) -> None:
        """Show the last status and give the terminal back; may be called twice."""
        if self._last is not None and self._last is not self._shown and not self._silent:
            self._show_last()
        live, self._live = self._live, None
        if live is not None:
            self._plain = True  # notes after the end are plain lines
            self._guard(live.stop)

    def _show_last(self) -> None:
        status = self._last
        assert status is not None
        self._shown = status
        self._refreshed_at = self._clock()
        if self._live is None:
            self._write(plain_line(status) + (f"  {summary(self._children)}" if self._children else ""))
        else:
            self._guard(lambda: self._live.update(self._picture(status), refresh=True))

    def _picture(self, status: Status | None) -> "RenderableType":
        return _Picture(self._title, status, self._stop_text, self._children)  # type: ignore[return-value, unused-ignore]

    def _write(self, line: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        try:
            line.encode(encoding)
        except UnicodeError:
            line = line.replace("±", "+-").replace(" · ", ", ")
            line = line.encode(encoding, "replace").decode(encoding)

        def write() -> None:
            self._stream.write(line + "\n")
            self._stream.flush()

        self._guard(write)

    def _guard(self, action: Callable[[], object]) -> None:
        """A terminal that went away must not end the training: fall silent instead."""
        try:
            action()
        except OSError:
            self._silent = True


def plain_line(status: Status) -> str:
    """A status as one line, for logs."""
    parts = [
        f"{status.seconds:.1f} s",
        f"{status.steps:,} steps",
        f"{status.steps_per_second:,.0f} steps/s",
    ]
    if status.return_mean is not None:
        parts.append(f"return {_return_text(status)}")
    if status.length_mean is not None:
        parts.append(f"length {status.length_mean:,.0f}")
    if status.progress is not None:
        parts.append(f"{int(100 * status.progress)} %")
    if status.restarts:
        parts.append(f"{status.restarts} restarts")
    return "  ".join(parts)


class _Picture:
    """Lays a status out for the width the terminal has at the moment of drawing."""

    def __init__(self, title: str, status: Status | None, stop_text: str, children: Sequence[ChildRow] = ()) -> None:
        self._children = children
        self._title = title
        self._status = status
        self._stop_text = status.stop_text if status else stop_text

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
            yield Text(self._stop_text, style="dim", no_wrap=True, overflow="ellipsis")
        else:
            # The bar takes what the words leave; where that is little, the words get their own line.
            percent = f"{int(100 * status.progress):3d} %"
            words = Text(self._stop_text, style="dim", no_wrap=True, overflow="ellipsis")
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
    return [
        (window, _return_text(status)),
        ("episode length", length),
        ("episodes", f"{status.episodes:,}"),
        ("steps", f"{status.steps:,}"),
        ("steps/s", f"{status.steps_per_second:,.0f}"),
        ("elapsed", duration_text(status.seconds)),
        ("time left", left),
    ]


def _learning_rows(status: Status) -> list[tuple[str, str]]:
    rows = [(name.replace("_", " "), f"{value:z.4g}") for name, value in status.metrics.items()]
    rows.append(("updates", f"{status.updates:,}"))
    if status.restarts:
        rows.append(("worker restarts", f"{status.restarts:,}"))
    return rows


def _return_text(status: Status) -> str:
    if status.return_mean is None:
        return "-"
    return spread_text(status.return_mean, status.return_std or 0.0)


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
