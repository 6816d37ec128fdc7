"""One run of a study, in a process of its own: ``python -m marl.studies.one_run``, told what to do on standard input.

It ends when standard input closes, with all that a stopped run saves: so no run outlives its study, however that ends.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marl.errors import MarlError
from marl.processes.signals import end_at_once
from marl.words import printable

WAIT_S = 60.0  # for the end of an earlier process of the same run, whose study was killed


class Job(NamedTuple):
    """What a process is told, as JSON in one line."""

    place: str  # folder of the run folder
    out: str  # weights file
    base: str
    settings: dict[str, Any]  # by path, as TOML has them
    children: int
    resumable: bool  # whether a run with these settings can go on from a checkpoint
    cores: Sequence[int]  # to use; none: any
    allow: Sequence[str]


def main() -> None:
    """Bring one run to its end; exit code 1 and a line on standard error where that cannot be."""
    end_at_once()
    job = Job(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_study, name="watch standard input", daemon=True).start()
    if job.cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # cores that were taken away meanwhile
            os.sched_setaffinity(0, job.cores)
    try:
        finish(job)
    except MarlError as error:
        print(f"Error: {printable(str(error))}", file=sys.stderr)
        sys.exit(1)


def finish(job: Job) -> None:
    """Train one run to its end, from where it is; nothing if it has ended.

    Raises:
        MarlError: it cannot be trained, or it ended without what it was to leave.
    """
    from marl.api import Cluster, train
    from marl.processes.bootstrap import start_forkserver

    if not job.children:  # a fleet of local children starts its own
        start_forkserver("marl.cluster.worker")  # first of all: it loads torch while this process does
    from marl.config.overrides import settings_from_plain
    from marl.reports.run_lock import writing
    from marl.studies.place import can_resume, end_of, forget_end, latest_run, set_aside

    place = Path(job.place)
    place.mkdir(parents=True, exist_ok=True)
    with writing(place, wait_s=WAIT_S, advice=""):
        run = latest_run(place)
        if run is not None and end_of(run) is not None:
            return
        cluster = Cluster(local=job.children) if job.children else None
        if run is not None and job.resumable and can_resume(run):
            forget_end(run)
            result = train(resume=run.path, out=job.out, plain=True, cluster=cluster, allow=job.allow)
        else:
            if run is not None:
                set_aside(run)
            settings = {**settings_from_plain(job.settings), "report.runs": job.place}
            result = train(
                job.base, settings=settings, out=job.out, plain=True, look=False, cluster=cluster, allow=job.allow
            )
        if result.failure:
            raise MarlError(result.failure)


def _end_with_study() -> None:
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 4096):
            pass
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
