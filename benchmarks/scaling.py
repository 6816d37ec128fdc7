"""How many environment steps a second do children make together, against one of them?

    python benchmarks/scaling.py --children 1 2 4 8 16

Each child is a real one with one worker, whose environment sleeps 10 ms a step: what is lost is lost to the exchange
and to this machine's cores, which all processes share. One after another, each from one cluster of its own, and the
smallest once more at the end: its best counts, since what disturbs it would flatter the others. Where memory does not
allow so many, the table ends earlier and says so. Linux only.
"""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from clusters import SLEEPER, BenchParent, contact_processes, see_sleeper
from marl.cluster.fleets.local import LocalFleet
from measure import busy_share, keep, machine, pss_mb, table
from sleeper import steps_in

CHILD_MB = 600.0  # a contact, its supervisor, a forkserver and a worker, while they start
TO_REACH = {16: 15.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--sleep", type=float, default=0.01, help="seconds of each environment step")
    parser.add_argument("--every", default="2 seconds", help="exchange.every")
    parser.add_argument("--start-seconds", type=float, default=180.0, help="for all children to take part")
    options = parser.parse_args()
    busy = busy_share()
    see_sleeper()
    rows, records, quarantined = [], {}, ""
    smallest = min(options.children)
    for count in sorted(options.children):
        free_mb = available_mb()
        if free_mb < count * CHILD_MB:
            quarantined = (
                f"{count} children need about {count * CHILD_MB / 1024:.0f} GiB, {free_mb / 1024:.0f} are free."
            )
            break
        record = records[count] = measure(count, options)
        print(f"{count} children: {record['rate']:.0f} steps/s", flush=True)
    alone = [records[smallest]["rate"] / smallest, measure(smallest, options)["rate"] / smallest]
    for count, record in records.items():
        ratio = record["rate"] / max(alone)
        rows.append(
            [
                f"{count}",
                f"{record['rate']:,.0f}",
                f"{ratio:.2f}x",
                f">= {TO_REACH[count]:g}x" if count in TO_REACH else "",
                f"{record['rounds_per_minute']:.0f}",
                f"{record['busy']:.0%}",
                f"{record['contact_mb']:.0f}",
            ]
        )
    print(f"\nEach step sleeps {1000 * options.sleep:g} ms, a round every {options.every}; {busy:.0%} busy before.")
    print(f"{machine()}\n{quarantined}\n")
    titles = [
        "children",
        "steps/s",
        "against one",
        "to reach",
        "rounds a minute",
        "machine busy",
        "a contact's PSS, MB",
    ]
    print(table(titles, rows))
    keep("scaling", {"arguments": vars(options), "children": records, "alone": alone, "busy_before": busy})


def measure(count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Steps a second of so many children, once all take part."""
    with ExitStack() as stack:
        counts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marl-bench-")))
        children = stack.enter_context(LocalFleet(count, workers=1))
        settings = {
            "environment.per_worker": 1,
            "environment.kwargs": {"sleep_s": options.sleep, "counts": str(counts)},
            "exchange.every": options.every,
            "stop.steps": 10**9,
        }
        addresses = [str(each) for each in children.start()]
        parent = stack.enter_context(BenchParent(addresses, settings, children.home, environment=SLEEPER))
        parent.wait_for(lambda: parent.num_training() == count, options.start_seconds, f"{count} children")
        parent.wait_for(lambda: playing(counts) == count, options.start_seconds, f"{count} workers")
        parent.wait_for_rounds(2, 60.0)
        version, before, started = parent.side.current.version, steps_in(counts), time.perf_counter()
        busy = busy_share(options.seconds)
        steps, passed = steps_in(counts) - before, time.perf_counter() - started
        rounds = parent.side.current.version - version
        sizes = [size for each in contact_processes(os.getpid()) if (size := pss_mb(each)) is not None]
        return {
            "rate": steps / passed,
            "rounds_per_minute": 60 * rounds / passed,
            "busy": busy,
            "contact_mb": sum(sizes) / max(1, len(sizes)),
            "notes": parent.notes[-5:],
        }


def playing(counts: Path) -> int:
    """Environments that have made a step."""
    return sum(path.read_bytes() != bytes(8) for path in counts.glob("steps-*"))


def available_mb() -> float:
    """Memory that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
