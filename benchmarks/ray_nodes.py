"""What does a Ray cluster cost, and how soon does a run recover there?

    python benchmarks/ray_nodes.py            # needs the extra ray

A cluster of two nodes of two cores on this machine, children that average weights of CartPole-v1, and the same on two
local children. Prints the medians and the worst of several tries: seconds from the command to the first round; from
the moment at which Ray has a new node, in place of one that died, until its child is in; what the death costs the round
that it falls into: the longest time from one round to the next after it, beyond the usual one; from the command that
resumes a run whose driver was killed to its first round, and how many rounds that has lost. Lines are printed every two
seconds, so what they tell may have happened so much sooner; times of rounds are those of metrics.jsonl, every .05 s.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from measure import busy_share, keep, machine, table

NODE = {"num_cpus": 2, "node_ip_address": "127.0.0.2", "object_store_memory": 80 * 2**20}  # of loopback
ROUND_S = 0.2
SHOWN = ("--plain", "--set", "report.every_seconds=0.05")
SETTINGS = (*SHOWN, "--set", "stop.solved=false", "--set", "checkpoint.every_seconds=1", "--minutes", "5")
SETTINGS += ("--exchange", "weights", "--set", f"exchange.every='{ROUND_S} seconds'")
PATIENCE_S = 90.0
TO_REACH = {"start": "15 more", "death": "1", "replaced": "10", "resumed": "15", "lost": "1"}


class Command:
    """A run, and when it printed what."""

    def __init__(self, words: tuple[str, ...], folder: Path) -> None:
        self.began = self.training_began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "marl", "train", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def lines(self) -> Iterator[tuple[float, str]]:
        """Each line with its time."""
        assert self.process.stdout is not None
        line = ""
        for line in self.process.stdout:
            yield time.monotonic(), line
            if time.monotonic() > self.began + PATIENCE_S:
                raise TimeoutError(f"not within {PATIENCE_S} s: {line}")
        raise RuntimeError(f"the run has ended: {line}")

    def until(self, version: int = 0, children: str = "", *, after: float = 0.0) -> tuple[float, int]:
        """When a line shows this version at least, and these children; and its version."""
        for when, line in self.lines():
            found = re.search(r"children (\S+)  version (\d+)", line)
            if shown := re.match(r"([\d.]+) s  ", line):
                self.training_began = when - float(shown[1])  # by the clock of its lines
            if found and when >= after and int(found[2]) >= version and children in ("", found[1]):
                return when, int(found[2])
        raise AssertionError

    def end(self, number: int = signal.SIGINT) -> None:
        """End it, and wait."""
        os.killpg(self.process.pid, number) if number == signal.SIGKILL else self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE_S)


@contextmanager
def running(*words: str, folder: Path, settings: tuple[str, ...] = SETTINGS) -> Iterator[Command]:
    command = Command((*words, *settings), folder)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    from ray.cluster_utils import Cluster

    busy, found = (
        busy_share(),
        {name: list[float]() for name in ("plain", "start", "death", "replaced", "resumed", "lost")},
    )
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    second = cluster.add_node(**NODE)
    where = ("CartPole-v1", "--ray", cluster.address, "--nodes", "2", "--cores-per-node", "2")
    try:
        for number in range(options.times):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                with running("CartPole-v1", "--local", "2", folder=folder) as run:
                    found["plain"].append(run.until(1)[0] - run.began)
                second = _one_node_dies(cluster, second, where, folder, found)
                _driver_dies(where, folder, found)
            print(number + 1, {name: round(each[-1], 2) for name, each in found.items()}, flush=True)
    finally:
        cluster.shutdown()
    print(f"\n{machine()}; {busy:.0%} busy before; {options.times} times each.\n")
    print(table(["", "median", "worst", "to reach"], list(_rows(found))))
    keep("ray_nodes", {"arguments": vars(options), "busy_before": busy, "found": found})


def _one_node_dies(
    cluster: Any, second: Any, where: tuple[str, ...], folder: Path, found: dict[str, list[float]]
) -> Any:
    runs = folder / "runs-ray"
    with running(*where, "--runs", str(runs), folder=folder) as run:
        found["start"].append(run.until(1)[0] - run.began)
        _, version = run.until(3, "2/2")
        dead = time.monotonic()
        cluster.remove_node(second, allow_graceful=False)
        while time.monotonic() < dead + 15.0:  # Ray asks for some ten seconds, in vain
            _, version = run.until(version + 1)
        found["death"].append(_longest_round(runs, dead - run.training_began) - ROUND_S)
        second = cluster.add_node(**NODE)
        added = time.monotonic()
        found["replaced"].append(run.until(0, "2/2", after=added)[0] - added)
    return second


def _longest_round(runs: Path, after: float) -> float:
    """Seconds of the longest round that ended later than ``after``, of training: between two changes of what children
    have played.
    """
    (run,) = runs.iterdir()
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    moments = [now["seconds"] for before, now in pairwise(entries) if now["steps"] != before["steps"]]
    return max(now - before for before, now in pairwise(moments) if now > after)


def _driver_dies(where: tuple[str, ...], folder: Path, found: dict[str, list[float]]) -> None:
    runs = folder / "killed"
    with running(*where, "--runs", str(runs), folder=folder) as run:
        started = run.until(1)[0]
        _, version = run.until(1, "2/2", after=started + 3.0)
        run.end(signal.SIGKILL)
    (folder_of_run,) = runs.iterdir()
    with running("--resume", str(folder_of_run), *where[1:], folder=folder, settings=SHOWN) as run:
        _, first = run.until(1)
        when, _ = run.until(first + 1)
        found["resumed"].append(when - run.began)
        found["lost"].append(max(0, version - first))


def _rows(found: dict[str, list[float]]) -> Iterator[list[str]]:
    named = {
        "plain": "two local children: command to first round, s",
        "start": "two children on Ray: the same",
        "death": "a node dies: what its round takes longer, s",
        "replaced": "Ray has a new node: until its child is in, s",
        "resumed": "the driver is killed: resume to first round, s",
        "lost": "rounds lost by that",
    }
    for name, text in named.items():
        each = found[name]
        yield [text, f"{statistics.median(each):.1f}", f"{max(each):.1f}", TO_REACH.get(name, "")]


if __name__ == "__main__":
    main()
