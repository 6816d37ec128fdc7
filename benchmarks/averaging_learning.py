"""Does averaging help? One node against two children with as many workers, by rule: python averaging_learning.py

Each line is one rule on several seeds: how many solved, after how many seconds of training and environment steps, and
what the policy that was kept earns. All rules take turns on a seed, so that a machine that grows slow is slow for all.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import ROOT, our_training, run_json

PARENT = ROOT / "init_parent.py"
# Settings of two children by rule; None: one node, two workers.
RULES: dict[str, list[str] | None] = {
    "one node": None,
    "mean, 0.5 s": ["exchange.every='0.5 seconds'"],
    "mean, 5 s": ["exchange.every='5 seconds'"],
    "mean, 0.5 s, half the batch": ["exchange.every='0.5 seconds'", "environment.per_worker=8"],
    "outer step x2, 1 s": ["exchange.every='1 second'", "exchange.outer_lr=2.0"],
    "Nesterov .7/.9, 5 s": ["exchange.every='5 seconds'", "exchange.outer_lr=0.7", "exchange.outer_momentum=0.9"],
    "pairwise, 0.5 s": ["exchange.every='0.5 seconds'", "exchange.name='pairwise'"],
    "barrier, 10000 steps": ["exchange.every='10000 steps'", "exchange.barrier=true"],
    "int8, 0.5 s": ["exchange.every='0.5 seconds'", "exchange.codec='int8'"],
    "int4, 0.5 s": ["exchange.every='0.5 seconds'", "exchange.codec='int4'"],
}


def command(rule: str, environment: str, seed: int, folder: Path, limit: list[str]) -> list[str]:
    """The command of one run."""
    settings = RULES[rule]
    words = our_training(environment, seed=seed, folder=folder, settings=[*(settings or []), *limit])
    if settings is None:
        return words
    return [sys.executable, str(PARENT), *words[2:], "--local", "2", "--workers", "1"]


def line(rule: str, runs: list[dict[str, Any]]) -> str:
    """A row of the table."""
    solved = [run for run in runs if run["solved"]]
    seconds = [run["training_ended_at"] - run["training_started_at"] for run in solved]
    steps = [run["steps"] / 1e6 for run in solved]
    final = [run["return_mean"] for run in runs if run["return_mean"] is not None]
    kept = [run["evaluation_mean"] for run in runs if run["evaluation_mean"] is not None]
    return (
        f"| {rule} | {len(solved)} of {len(runs)} | {middle(seconds)} s | {middle(steps, 2)} M | "
        f"{spread(final)} | {spread(kept)} |"
    )


def middle(numbers: list[float], digits: int = 0) -> str:
    """Median and range."""
    if not numbers:
        return "-"
    return f"{statistics.median(numbers):.{digits}f} [{min(numbers):.{digits}f}-{max(numbers):.{digits}f}]"


def spread(numbers: list[float]) -> str:
    """Mean and standard deviation."""
    if not numbers:
        return "-"
    return f"{statistics.fmean(numbers):.0f} ± {statistics.pstdev(numbers):.0f}"


def main() -> None:
    """Run everything, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="LunarLander-v3")
    parser.add_argument("--algorithm", default="a3c", help="(default a3c)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), metavar="RULE")
    parser.add_argument("--minutes", type=float, default=3.0, help="the most that one run trains")
    parser.add_argument("--steps", type=int, help="train so many steps whether solved or not, instead")
    words = parser.parse_args()
    limit = [
        f"algorithm.name={words.algorithm}",
        f"stop.minutes={words.minutes}",
        "report.pictures=false",
        "report.tensorboard=false",
    ]
    if words.steps:
        limit += [f"stop.steps={words.steps}", "stop.solved=false"]
    runs: dict[str, list[dict[str, Any]]] = {rule: [] for rule in words.rules}
    for seed in words.seeds:
        for rule in words.rules:
            with tempfile.TemporaryDirectory() as folder:
                run = run_json(command(rule, words.env, seed, Path(folder), limit), limit_s=60 * words.minutes + 120)
            runs[rule].append(run)
            print(f"seed {seed}, {rule}: {run['reason']} after {run['seconds']:.0f} s, {run['steps']:,} steps, "
                  f"return {run['return_mean']}", file=sys.stderr, flush=True)  # fmt: skip
    print(
        f"\n{words.env} by {words.algorithm}, seeds {', '.join(map(str, words.seeds))}, two workers in all, "
        f"at most {words.minutes:g} min\n"
    )
    print("| rule | solved | seconds | steps | last return | policy kept |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rule, each in runs.items():
        print(line(rule, each))


if __name__ == "__main__":
    main()
