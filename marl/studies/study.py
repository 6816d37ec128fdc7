"""A study from its file to its report: plan, look at what is there, make what is missing."""

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from marl.errors import ConfigError, RunFolderError
from marl.processes.signals import stop_event
from marl.reports.places import demand_folder
from marl.reports.run_folder import RunFolder
from marl.reports.run_lock import writing
from marl.studies.place import can_resume
from marl.studies.plan import Planned, demand_unchanged, plan
from marl.studies.report import REPORT, write_report, write_table
from marl.studies.results import Row, read_row
from marl.studies.schedule import Ended, play, slots_for
from marl.studies.study_file import Study, read_study

STUDIES = "studies-runs"  # folder of the study folders
MOST_LISTED = 6  # cells in one line
REST = 20.0  # of the time that a report took


class StudyResult(NamedTuple):
    """What a study has come to."""

    folder: Path
    report: Path
    finished: int
    planned: int
    failures: Sequence[str]  # a line for each run that ended too early
    signal: int | None  # number of the signal that stopped it


def study(
    file: Path,
    *,
    runs: Path = Path(STUDIES),
    side_by_side: int | None = None,
    only: Sequence[str] = (),
    report_only: bool = False,
    allow: Sequence[str] = (),
    say: Callable[[str], object] = lambda unused: None,
) -> StudyResult:
    """Make every run of a study file that is not finished, and its report.

    Args:
        runs: folder of the study folders.
        side_by_side: how many runs at a time; None: as many as have a core for each of their workers.
        only: texts, one of which the label of a run's cell has in it; none: all runs.
        report_only: whether to make the report of what is there, and no run.
        allow: modules whose code the file may name.
        say: takes a line for the user.

    Raises:
        MarlError: the file or its settings cannot work, or a run folder was changed.
    """
    read = read_study(file)
    planned = plan(read, runs / read.name, allow)
    wanted = _wanted(planned, only)
    folder = runs / read.name
    demand_folder(runs, "--runs")
    demand_folder(folder, "--runs")
    if report_only and not folder.is_dir():
        raise RunFolderError(f"expected the runs of {file} in {folder}, got nothing there: leave out --report-only")
    _make(folder)
    with writing(folder, advice=""):
        demand_unchanged(planned, allow)
        progress = _Progress(read, folder, {each.place: read_row(each) for each in planned}, say)
        signal = None if report_only else progress.play(wanted, side_by_side, allow)
        try:
            progress.report()
        except OSError as error:
            raise RunFolderError(
                f"expected to write the report in {folder}, got {error.strerror or error} "
                f"({error.filename or folder}): free that place, then make it with --report-only"
            ) from error
    rows = progress.rows.values()
    finished = sum(row.result is not None for row in rows)
    return StudyResult(folder, folder / REPORT, finished, len(rows), progress.failures, signal)


class _Progress:
    """What has become of each run so far: told to the user, and written down."""

    def __init__(self, study: Study, folder: Path, rows: dict[Path, Row], say: Callable[[str], object]) -> None:
        self.rows, self.failures = rows, list[str]()
        self._study, self._folder, self._say = study, folder, say
        self._due = -math.inf  # time.monotonic() of the next report

    def play(self, wanted: Sequence[Planned], side_by_side: int | None, allow: Sequence[str]) -> int | None:
        """Make what is missing of these; the number of the signal that stopped it."""
        waiting = [each for each in wanted if self.rows[each.place].result is None]
        slots = side_by_side or slots_for(waiting)
        finished = sum(row.result is not None for row in self.rows.values())
        self._say(_head(self._folder, len(self.rows), finished, min(slots, len(waiting))))
        with stop_event() as stopped:
            play(waiting, slots, allow, stopped, began=self._began, ended=self._ended)
        for each in waiting:  # some were stopped, at the end of others they may have ended
            self.rows[each.place] = read_row(each)
        return stopped.signal

    def report(self) -> None:
        """Write the report, and no other for many times as long as it took: the runs need the cores.

        Raises:
            OSError: a file of it cannot be written.
        """
        began = time.monotonic()
        try:
            write_report(self._study, list(self.rows.values()), self._folder)
        finally:
            self._due = time.monotonic() + REST * (time.monotonic() - began)

    def _began(self, each: Planned) -> None:
        run = self.rows[each.place].run
        verb = "goes on" if run is not None and each.resumable and can_resume(RunFolder(run)) else "begins"
        self._say(f"{each.name} {verb}: {each.place}")

    def _ended(self, one: Ended) -> None:
        self.rows[one.planned.place] = row = read_row(one.planned)
        if one.failure or row.result is None:  # or both: a run may end and have learned nothing
            line = f"{one.planned.name} failed: {one.failure or 'it was stopped'}"
            self.failures.append(line)
            self._say(line)
        if row.result is not None:
            done = sum(each.result is not None for each in self.rows.values())
            self._say(f"{one.planned.name} {_outcome(row)} [{done} of {len(self.rows)}]")
        try:
            if time.monotonic() >= self._due:
                self.report()
            else:
                write_table(list(self.rows.values()), self._folder)
        except OSError as error:  # the runs matter more: only the last report has to be written
            self._say(f"no report for now: {error.strerror or error} ({error.filename or self._folder})")


def _wanted(planned: Sequence[Planned], only: Sequence[str]) -> Sequence[Planned]:
    for text in only:
        if not any(text in each.cell.label for each in planned):
            labels = list(dict.fromkeys(repr(each.cell.label) for each in planned))
            more = f" and {len(labels) - MOST_LISTED} more" if len(labels) > MOST_LISTED else ""
            raise ConfigError(
                f"--only: expected a part of one of {', '.join(labels[:MOST_LISTED])}{more}, got {text!r}"
            )
    return [each for each in planned if not only or any(text in each.cell.label for text in only)]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"expected a place for the study at {folder}, got {error.strerror or error}: choose another with --runs"
        ) from error


def _head(folder: Path, planned: int, finished: int, slots: int) -> str:
    known = f", {finished} of them finished" if finished else ""
    beside = f"; {slots} side by side" if slots > 1 else ""
    return f"Study in {folder}{os.sep}: {planned} run{'' if planned == 1 else 's'}{known}{beside}"


def _outcome(row: Row) -> str:
    assert row.result is not None
    result = row.result
    head = "solved" if result.reason == "solved" else f"ended ({result.reason})"
    virtual = "" if result.virtual_seconds is None else f" ({result.virtual_seconds:.1f} s of virtual time)"
    return f"{head} after {result.seconds:.1f} s{virtual}, {result.steps:,} steps, score {result.score:.4g}"
