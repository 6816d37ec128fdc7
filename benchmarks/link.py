"""How fast does a link carry weights, against bare TLS sockets on the same machine?

    python benchmarks/link.py --mebibytes 16 128 --repeats 7

Each contender is two processes on loopback with the same certificates; all take turns; only ratios are claims, of
medians. Ours hashes every payload at both ends by XXH3, the others nothing, but for two: bare TLS with XXH3 or SHA-256
at both ends, in threads beside.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from link_ends import CONTENDERS, MIB
from marl.trust.identity import identity_from_keys
from marl.trust.keys import create_keys, load_keys
from measure import busy_share, keep, machine, table

TO_REACH = ">= 0.75x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, nargs="*", default=[16, 128])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    busy = busy_share()
    seconds: dict[str, list[tuple[float, float]]] = {}
    peaks: dict[str, tuple[float, float]] = {}
    for size in options.mebibytes:
        with tempfile.TemporaryDirectory() as folder:
            pairs = {name: Pair(name, size * MIB, Path(folder)) for name in CONTENDERS}
            for turn in range(options.repeats + 1):
                for name, pair in pairs.items():
                    for way in ("up", "down"):
                        taken = pair.measure(way)
                        if turn:  # the first touches new memory
                            seconds.setdefault(f"{name}, {size} MiB {way}", []).append(taken)
            for name, pair in pairs.items():
                peaks[f"{name}, {size} MiB"] = pair.close()
    rows = []
    for size in options.mebibytes:
        for way in ("up", "down"):
            bare = medians(seconds[f"bare TLS, {size} MiB {way}"])
            for name in CONTENDERS:
                taken = medians(seconds[f"{name}, {size} MiB {way}"])
                parent, child = peaks[f"{name}, {size} MiB"]
                target = TO_REACH if name == "marl" else ""
                ratios = [f"{bare[0] / taken[0]:.2f}x", target, f"{taken[1] / bare[1]:.2f}x"]
                rows.append([f"{size} MiB {way}", name, *ratios, f"{parent:.0f} / {child:.0f}"])
    print(f"\nUp: parent to child. Peak memory beyond what the program needs at rest; {busy:.0%} busy before.")
    print(f"{machine()}\n")
    print(table(["", "", "speed against bare TLS", "to reach", "processor time", "peak MiB, parent / child"], rows))
    keep("link", {"arguments": vars(options), "seconds": seconds, "peaks": peaks, "busy_before": busy})


def medians(measured: list[tuple[float, float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*measured, strict=True)]


class Pair:
    """The two processes of a contender."""

    def __init__(self, name: str, size: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        key = folder / f"{name} {size}.key"
        create_keys(key)
        self._pipes, self._processes = [], []
        port = 0
        for role in ("child", "parent"):
            ours, theirs = context.Pipe()
            process = context.Process(target=run_end, args=(name, role, key, size, port, theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
            if role == "child":
                port = ours.recv()
        self._child, self._parent = self._pipes
        assert self._parent.recv() == self._child.recv() == "ready"

    def measure(self, way: str) -> tuple[float, float]:
        """Seconds from the first call of the sender to the answer of the receiver; processor seconds of both."""
        for pipe in self._pipes:
            pipe.send(way)
        (taken, parent), (_, child) = self._parent.recv(), self._child.recv()
        return taken, parent + child

    def close(self) -> tuple[float, float]:
        """Peak memory of both in MiB, beyond what they had before the first payload."""
        for pipe in self._pipes:
            pipe.send("end")
        peaks = self._parent.recv(), self._child.recv()
        for process in self._processes:
            process.join(10)
        return peaks


def run_end(name: str, role: str, key: Path, size: int, port: int, pipe: Connection) -> None:
    """One process: do what the pipe says."""
    identity = identity_from_keys(load_keys(key), "child" if role == "child" else "parent", "bench")
    payload = bytearray(size)
    with CONTENDERS[name](role, identity, port, pipe.send) as end:
        pipe.send("ready")
        rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        word = bytearray(1)
        while (way := pipe.recv()) != "end":
            started, worked = time.perf_counter(), time.process_time()
            if (way == "up") == (role == "parent"):
                end.send(payload)
                end.recv(word)
            else:
                end.recv(payload)
                end.send(word)
            # The way down is timed by the parent too: to the payload's arrival, its word back is one byte.
            pipe.send((time.perf_counter() - started, time.process_time() - worked))
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - rest)


if __name__ == "__main__":
    main()
