"""What does it cost if children die all the time?

    python benchmarks/killed_children.py

Four local children learn cart-pole swing-up, whose step takes 2 ms, until it is solved: once undisturbed, once while
every 20 seconds one of them, chosen by chance, is killed with all its workers. Prints how many were solved, and the
ratio of the median times. The environment sleeps, so four children fit on two cores.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import statistics
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from marl.api import Cluster, train
from measure import ROOT, busy_share, family, keep, machine, table

MODULE = "studies.swing_up"


class Trained(NamedTuple):
    """One run."""

    solved: bool
    seconds: float
    kills: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two kills")
    parser.add_argument("--exchange", choices=("experience", "gradients", "weights"), default="experience")
    parser.add_argument("--most-steps", type=int, default=400_000)
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    busy = busy_share()
    found: dict[str, list[Trained]] = {"undisturbed": [], "one killed again and again": []}
    for seed in options.seeds:
        for name, runs in found.items():
            runs.append(trained(seed, options, kill=name != "undisturbed"))
            print(f"seed {seed}, {name}: {runs[-1]}", flush=True)
    usual = statistics.median(each.seconds for each in found["undisturbed"])
    rows = [
        [name, f"{sum(each.solved for each in runs)} of {len(runs)}",
         f"{statistics.median(each.seconds for each in runs):.1f}",
         f"{statistics.median(each.seconds for each in runs) / usual:.2f}"]
        for name, runs in found.items()
    ]  # fmt: skip
    print(f"\n{machine()}; {busy:.0%} busy before; {options.exchange}.\n")
    print(table(["", "solved", "seconds, median", "ratio"], rows))
    keep("killed_children", {"arguments": vars(options), "busy_before": busy, "runs": found})


def trained(seed: int, options: argparse.Namespace, *, kill: bool) -> Trained:
    """Train once; with ``kill``, while children are killed."""
    over, kills = threading.Event(), [0]
    thread = threading.Thread(target=_kill, args=(options.every, seed, over, kills), daemon=True)
    if kill:
        thread.start()
    try:
        with tempfile.TemporaryDirectory(prefix="marl-bench-") as folder:
            result = train(
                str(ROOT / "studies" / "swing_up.base.toml"),
                settings=settings_of(seed, options, Path(folder)),
                out=Path(folder) / "weights.pt",
                cluster=Cluster(local=4),
                allow=[MODULE],
                live=False,
            )
    finally:
        over.set()
    if kill:
        thread.join()
    return Trained(result.reason == "solved", result.seconds, kills[0])


def settings_of(seed: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Of a run of four children with a quarter of the batch each."""
    exchange: dict[str, Any] = {"exchange.name": options.exchange}
    if options.exchange == "experience":
        exchange |= {"exchange.batch": 4, "exchange.queue": 16}
    if options.exchange == "weights":
        exchange |= {"exchange.every": "256 steps"}
    return {
        "seed": seed,
        "environment.per_worker": 4,
        "environment.kwargs.step_ms": 2.0,
        "algorithm.learning_rate": 2e-3,
        "node.workers": 1,
        "evaluation.episodes": 0,
        "evaluation.final_episodes": 0,
        "report.runs": str(folder / "runs"),
        "report.pictures": False,
        "report.tensorboard": False,
        "stop.steps": options.most_steps,
        **exchange,
    }


def _kill(every: float, seed: int, over: threading.Event, kills: list[int]) -> None:
    """Kill one child of this process, with all that it has started, again and again."""
    chance = random.Random(seed)
    while not over.wait(every):
        children = [each for each in multiprocessing.active_children() if each.name.startswith("marl child")]
        if not children:
            continue
        pid = chance.choice(children).pid
        assert pid is not None
        for process in [pid, *family(pid)]:
            with contextlib.suppress(ProcessLookupError):  # it ended with the others
                os.kill(process, signal.SIGKILL)
        kills[0] += 1


if __name__ == "__main__":
    main()
