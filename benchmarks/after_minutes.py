"""What is learned in the same minutes: ours without tuned settings, against stable-baselines3 PPO with its tuned ones.

    python benchmarks/after_minutes.py --env HalfCheetah-v5 --minutes 10

Ours takes what ``marl suggest`` prints. Both are evaluated by fresh episodes of the most likely actions, un-normalised.
"""

import argparse
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, disturbed, keep, machine, our_training, peer_training, run_json, spread, table, warning
from peers import peers_python

ENVIRONMENTS = ("HalfCheetah-v5", "Hopper-v5")
EPISODES = 20  # of the peer's evaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=ENVIRONMENTS, default=ENVIRONMENTS[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--peer-seeds", type=int, nargs="*", default=[100])
    options = parser.parse_args()
    seconds = 60.0 * options.minutes
    runs: dict[str, list[dict[str, float]]] = {"marl, no preset": [], "stable-baselines3 PPO, tuned": []}
    ours, theirs = runs.values()
    for seed in options.seeds:
        ours.append(our_run(options.env, seed, options.minutes))
    for seed in options.peer_seeds:
        limits = {"seed": seed, "solved": math.inf, "max_seconds": seconds, "evaluate": EPISODES}
        command = peer_training(peers_python(), "sb3", "ppo", options.env, **limits)
        theirs.append(run_json(command, limit_s=seconds + 300))
    rows = [
        [
            name,
            spread([run["evaluation_mean"] for run in each], "{:,.0f}"),
            spread([run["steps_per_second"] for run in each], "{:,.0f}"),
        ]
        for name, each in runs.items()
    ]
    print(f"\n{options.env}, after {options.minutes:g} minutes.\n{machine()}\n")
    print(table(["", "mean return", "steps/s"], rows))
    print(warning(sum(map(disturbed, theirs))))
    keep("after-minutes", {"arguments": vars(options), "runs": runs})


def our_run(environment: str, seed: int, minutes: float) -> dict[str, float]:
    """A run with the suggested settings."""
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as name:
        suggested = subprocess.run(
            [sys.executable, "-m", "marl", "suggest", environment], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout
        file = Path(name) / "suggested.toml"
        file.write_text(suggested)
        limits = [f"stop.minutes={minutes}", "stop.solved=false"]
        command = our_training(str(file), seed=seed, folder=Path(name), settings=limits)
        return run_json(command, limit_s=60.0 * minutes + 300)


if __name__ == "__main__":
    main()
