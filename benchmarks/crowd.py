"""How long does a parent wait to be let in while strangers crowd a child's door?

    python benchmarks/crowd.py --strangers 0 300 1000

Strangers connect from fifty addresses of this machine, begin TLS and say no more; whoever is thrown out comes again.
Meanwhile one that has the key connects, again and again, until the link is open on its side. Linux only.
"""

import argparse
import contextlib
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from clusters import child_process
from marl.links.websocket.client import connect
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import identity_from_keys
from marl.trust.keys import create_keys, key_path, load_keys
from measure import busy_share, family, keep, machine, table
from strangers import Strangers

TO_REACH_MS = 250
PAUSE_S = 0.05  # one address may connect 25 times a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strangers", type=int, nargs="+", default=[0, 300, 1000])
    parser.add_argument("--connects", type=int, default=200)
    options = parser.parse_args()
    busy = busy_share()
    rows, records = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_keys(key_path(folder))
        with child_process(folder, "-p", "0", "--workers", "1") as (process, address, _):
            port = int(address.rpartition(":")[2])
            for count in options.strangers:
                with Strangers("127.0.0.1", port, count):
                    taken = sorted(connect_often(folder, port, options.connects))
                num_descriptors = max(descriptors(pid) for pid in family(process.pid))
                late = taken[math.ceil(0.99 * len(taken)) - 1]
                rows.append([f"{count}", ms(statistics.median(taken)), ms(late), ms(taken[-1]), f"{num_descriptors}"])
                records[count] = {"seconds": taken, "descriptors": num_descriptors}
    print(f"\n{options.connects} connects each; of 1000: 99 % in {TO_REACH_MS} ms; {busy:.0%} busy before.")
    print(f"{machine()}\n")
    print(table(["strangers", "median ms", "99 % within", "longest", "descriptors of the child"], rows))
    keep("crowd", {"arguments": vars(options), "measured": records, "busy_before": busy})


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def descriptors(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def connect_often(home: Path, port: int, count: int) -> Iterator[float]:
    """Seconds of each connect."""
    identity = identity_from_keys(load_keys(key_path(home)), "parent", "bench")
    with IOLoop() as io:
        for _ in range(count):
            started = time.monotonic()
            link = connect(io, "127.0.0.1", port, identity)
            yield time.monotonic() - started
            link.close()
            time.sleep(PAUSE_S)  # or the child would take us for one of the crowd


if __name__ == "__main__":
    main()
