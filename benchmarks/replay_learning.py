"""What does learning again from the shared replay do to learning and speed? By ratio: python replay_learning.py

Each line is one ratio on several seeds, otherwise with the same settings; all ratios take turns on a seed, so that a
machine that grows slow is slow for all. Then what a worker's writes to the replay cost it, of one worker that plays,
writes and learns in this process.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from marl.acting.collect import Collector
from marl.algorithms.base import Moment
from marl.cluster.memory_demand import replay_memory
from marl.config.files import load_config
from marl.data.node.memory import node_memory
from marl.data.replay.trajectory_replay import TrajectoryReplay
from marl.data.trajectory import Trajectory
from marl.environments.vector import make_environments
from marl.networks.contract import Acts
from marl.training.flat import flatten
from marl.training.learned_weights import hogwild_step
from marl.training.minibatches import ReplayedTrajectories
from marl.training.optimizers import make_optimizer
from measure import keep, machine, our_training, run_json, spread, table
from time_to_solve import SOLVED

Runs = list[dict[str, Any]]
QUIET = ["report.pictures=false", "report.tensorboard=false", "report.every_seconds=0.25"]
WRITTEN = [  # of the second table: environment, environments a worker, steps of a trajectory
    ("CartPole-v1", 32, 5),
    ("CartPole-v1", 16, 16),
    ("LunarLander-v3", 16, 64),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=sorted(SOLVED), default="CartPole-v1")
    parser.add_argument("--seeds", type=int, nargs="*", default=[100, 101, 102, 103, 104])
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.0, 1.0, 4.0])
    parser.add_argument("--max-seconds", type=float, default=60.0, help="training time after which a run is cut")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="for all")
    parser.add_argument("--writing-seconds", type=float, default=5.0, help="for each line of the second table; 0: none")
    options = parser.parse_args()

    runs: dict[float, Runs] = {ratio: [] for ratio in options.ratios}
    for seed in options.seeds:
        for ratio, of in runs.items():
            of.append(run(options.env, seed, ratio, options.max_seconds, options.settings))
            say(seed, ratio, of[-1])
    shares = [writing(*each, options.writing_seconds) for each in WRITTEN if options.writing_seconds]

    if options.seeds:
        print(
            f"\n{options.env}, {' '.join(options.settings) or 'its preset'}; medians [minimum-maximum].\n{machine()}\n"
        )
        header = ["replay.ratio", "solved", "s to solve", "steps to solve", "updates", "best mean", "steps/s"]
        print(table(header, [line(ratio, of) for ratio, of in runs.items()]))
    if shares:
        print("\nA worker that plays, writes and learns once from a sample:\n")
        print(table(["", "environments x steps", "µs a write", "share of its time"], shares))
    path = keep(f"replay-learning-{options.env}", {"arguments": vars(options), "runs": runs, "writing": shares})
    print(f"\nEvery run: benchmarks/results/{path.name}")


def run(environment: str, seed: int, ratio: float, max_seconds: float, settings: list[str]) -> dict[str, Any]:
    """Train until solved, or so long; ``best`` is the best mean of 100 episodes on the way."""
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as name:
        limits = [f"stop.minutes={max_seconds / 60:.6f}", f"replay.ratio={ratio}", *QUIET, *settings]
        command = our_training(environment, seed=seed, folder=Path(name), settings=limits)
        done = run_json(command, limit_s=max_seconds + 120)
        file = next(Path(name).glob("runs/*/metrics.jsonl"))
        lines = [json.loads(each) for each in file.read_text(encoding="utf-8").splitlines()]
    means = [each["return_mean"] for each in lines if each["window_filled"] >= 100]
    means += [done["return_mean"]] if done["return_mean"] is not None else []
    trained = done["training_ended_at"] - done["training_started_at"]
    return {"seed": seed, **done, "best": max(means, default=math.nan), "trained": trained}


def say(seed: int, ratio: float, run: dict[str, Any]) -> None:
    print(
        f"seed {seed}, ratio {ratio:g}: {run['reason']} after {run['trained']:.1f} s, {run['steps']:,} steps, "
        f"{run['updates']:,} updates, best mean {run['best']:.0f}",
        file=sys.stderr,
        flush=True,
    )


def line(ratio: float, of: Runs) -> list[str]:
    """A row of the table."""
    return [
        f"{ratio:g}",
        f"{sum(run['solved'] for run in of)}/{len(of)}",
        to_solve(of, "trained", "{:.1f}"),
        to_solve(of, "steps", "{:,.0f}"),
        spread([run["updates"] for run in of], "{:,.0f}"),
        spread([run["best"] for run in of], "{:.0f}"),
        spread([run["steps"] / run["trained"] for run in of], "{:,.0f}"),
    ]


def to_solve(of: Runs, key: str, form: str) -> str:
    """The spread of those that were solved; the median is over all, as if the others had taken longer than any."""
    solved = [run[key] for run in of if run["solved"]]
    middle = statistics.median_high([run[key] if run["solved"] else math.inf for run in of])
    if len(solved) == len(of) or not solved:
        return spread(solved, form)
    return f"{form.format(middle) if math.isfinite(middle) else 'most not'} [{form.format(min(solved))}-]"


class Timed(TrajectoryReplay):
    """Counts the seconds of its writes."""

    seconds, times = 0.0, 0

    def write(self, trajectory: Trajectory) -> None:
        start = time.perf_counter()
        super().write(trajectory)
        self.seconds += time.perf_counter() - start
        self.times += 1


def writing(environment: str, per_worker: int, length: int, seconds: float) -> list[str]:
    """What the writes of a worker cost: its own loop, without what only tells others about it."""
    torch.set_num_threads(1)
    shape = {"algorithm.name": "a3c", "environment.per_worker": per_worker, "algorithm.t_max": length}
    config = load_config(environment, {"replay.ratio": 1.0, **shape})
    algorithm = config.algorithm.off_policy()
    environments = make_environments(config.environment, config.environment.per_worker)
    network = algorithm.build_network(environments.spaces, config.network, 0)
    local = flatten(network)
    block = node_memory(
        num_weights=len(local.weights),
        num_parameters=len(local.gradient),
        observation_size=environments.spaces.measured_size,
        workers=1,
        more=replay_memory(config, environments.spaces, network, 1),
    )
    shared = block["weights"]
    shared.copy_(local.weights)
    generator = torch.Generator().manual_seed(0)
    collector = Collector(
        environments,
        length=algorithm.t_max,
        discount=algorithm.discount,
        reward_scale=config.environment.reward_scale,
        generator=generator,
        seeds=list(range(environments.count)),
    )
    optimizer = make_optimizer(config.optimizer, block["optimizer"], block["optimizer_steps"])
    replayed = ReplayedTrajectories(algorithm, network, block, 0, ratio=1.0, rng=np.random.default_rng(0))
    replay = replayed._replay = Timed(block, 0)
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        local.weights.copy_(shared)
        trajectory, _ = collector.collect(cast(Acts, network), None, 0)
        collector.scale_rewards(1.0)
        for batch in replayed.batches(trajectory, Moment(0.0, generator)):
            loss = algorithm.loss(network, batch)
            hogwild_step(shared, local, optimizer, loss, algorithm.learning_rate, algorithm.max_gradient_norm)
            local.weights.copy_(shared)
    environments.close()
    write_us = f"{replay.seconds / replay.times * 1e6:.0f}"
    return [environment, f"{per_worker} x {length}", write_us, f"{replay.seconds / spent:.1%}"]


if __name__ == "__main__":
    main()
