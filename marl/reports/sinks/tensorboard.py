"""Event files for TensorBoard, written with its own protocol buffers (no torch, no tensorflow)."""

import contextlib
import io
import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl.reports.events import Evaluated, Event, Status
from marl.reports.run_folder import RunFolder
from marl.reports.sinks.sink import Facts
from marl.reports.sinks.tensorboard_settings import settings_values

# Two writers of one process, in one second, still get files of their own.
_writer_numbers = itertools.count()


class TensorBoard:
    """Writes curves, evaluations and settings of a run, unless ``report.tensorboard`` is false."""

    patience_s = 20.0  # of a short run on a busy machine, the library takes most

    def begin(self, facts: Facts) -> None:
        """Event files go to the run folder, once there is something to write: the library takes its time to load."""
        self._facts = facts
        self._wanted = bool(facts.settings.get("report", {}).get("tensorboard", True))
        self._writer: TensorBoardWriter | None = None

    def on(self, event: Event) -> None:
        """Add a point."""
        if not self._wanted or not isinstance(event, (Status, Evaluated)):
            return
        if self._writer is None:
            folder = RunFolder(self._facts.folder).tensorboard
            self._writer = TensorBoardWriter(folder, purge_steps=self._facts.steps or None)
            self._writer.write_settings(self._facts.settings)
        if isinstance(event, Status):
            self._writer.write(event)
        else:
            name = "final_return" if event.final else "return"
            self._writer.write_evaluation(event.steps, event.mean, event.std, name=name)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class TensorBoardWriter:
    """Writes each status as scalars; a full disk costs points, never the run.

    TensorBoard's EventFileWriter would write from a thread, which dies of a full disk with a traceback
    on the terminal; its RecordWriter is used here, from the caller's thread.
    """

    def __init__(self, folder: Path, purge_steps: int | None = None) -> None:
        """``purge_steps``: on resume, the checkpoint's steps; later points of older files are then hidden."""
        from tensorboard.compat.proto.event_pb2 import (  # type: ignore[import-untyped, unused-ignore]
            Event,
            SessionLog,
        )
        from tensorboard.compat.proto.summary_pb2 import (  # type: ignore[import-untyped, unused-ignore]
            Summary,
        )
        from tensorboard.summary.writer.record_writer import (  # type: ignore[import-untyped, unused-ignore]
            RecordWriter,
        )

        self._make_event: Any = Event
        self._make_summary: Any = Summary
        self._file: Any = None
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a record is on its way when write returns, and an error belongs to its record.
            self._file = io.FileIO(folder / f"{name}.{next(_writer_numbers)}", "xb")
        self._records: Any = RecordWriter(_WholeWrites(self._file))
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_steps is not None:
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=purge_steps + 1, session_log=start))

    def write(self, status: Status) -> None:
        """Add one point to every curve, at the status's environment steps."""
        summary = self._make_summary()
        for tag, value in _scalars(status).items():
            summary.value.add(tag=tag, simple_value=value)
        self._add(self._make_event(wall_time=time.time(), step=status.steps, summary=summary))

    def write_evaluation(self, steps: int, mean: float, std: float, *, name: str = "return") -> None:
        """Add what weights earned when they were evaluated, at that many environment steps."""
        summary = self._make_summary()
        for tag, value in (("mean", mean), ("std", std)):
            summary.value.add(tag=f"evaluation/{name}_{tag}", simple_value=value)
        self._add(self._make_event(wall_time=time.time(), step=steps, summary=summary))

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Add the run's settings, for TensorBoard's tabs TEXT and HPARAMS.

        Args:
            settings: tables of tables, as in ``config.toml``.
        """
        for value in settings_values(settings):
            summary = self._make_summary()
            summary.value.append(value)
            self._add(self._make_event(wall_time=time.time(), step=0, summary=summary))

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _add(self, event: Any) -> None:
        if self._file is None:
            return
        good_size = self._file.tell()
        try:
            self._records.write(event.SerializeToString())
        except OSError:
            # A reader stops at half a record: cut it off, so that later points can still be seen.
            with contextlib.suppress(OSError):
                self._file.truncate(good_size)
                self._file.seek(good_size)


class _WholeWrites:
    """A raw file whose write either takes all bytes or raises; raw files may take a part in silence."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]


def _scalars(status: Status) -> dict[str, float]:
    scalars = {"speed/steps_per_second": status.steps_per_second, "speed/updates": float(status.updates)}
    optional = {
        "return/mean": status.return_mean,
        "return/std": status.return_std,
        "return/length": status.length_mean,
    }
    scalars.update({tag: value for tag, value in optional.items() if value is not None})
    for name, value in status.metrics.items():
        group = "loss" if name.endswith("_loss") else "learning"
        scalars[f"{group}/{name}"] = value
    return scalars
