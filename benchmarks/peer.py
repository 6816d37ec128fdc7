"""What every peer's script has in common. Run by the peers' Pythons, so it imports nothing but the standard library."""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

WINDOW = 100  # episodes whose mean return counts


def arguments(description: str | None, tuned: Collection[tuple[str, str]]) -> argparse.Namespace:
    """The options that ``time_to_solve.py`` gives."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--algorithm", choices=sorted({algorithm for algorithm, _ in tuned}), required=True)
    parser.add_argument("--env", choices=sorted({environment for _, environment in tuned}), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-seconds", type=float, default=480.0, help="training is cut after this long")
    parser.add_argument("--solved", type=float, required=True, help="mean return that counts; inf never stops early")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0: torch's own choice")
    parser.add_argument("--evaluate", type=int, default=0, help="episodes to play with what was learned; 0: none")
    options = parser.parse_args()
    if (options.algorithm, options.env) not in tuned:
        parser.error(f"there are no tuned settings of {options.algorithm} for {options.env}")
    return options


def process_started() -> float:
    """time.time() at which this process started: as the launcher says, else as the kernel does."""
    if "MARL_BENCH_STARTED" in os.environ:
        return float(os.environ["MARL_BENCH_STARTED"])
    # Field 22 of stat, counted after the parenthesised name, which may itself hold spaces.
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


def tell(*, started: float, training_started: float, ended: float, solved: bool, steps: int, **more: Any) -> None:
    """One line of JSON, the last of the output."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    training_s = ended - training_started
    outcome = {
        "solved": solved,
        "seconds_from_process_start": round(ended - started, 3),
        "seconds_from_training_start": round(training_s, 3),
        "steps": steps,
        "steps_per_second": round(steps / training_s, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1),
        **more,
    }
    print(f"\n{json.dumps(outcome)}", flush=True)
