"""Environment steps a second while PPO trains on Pong: ours, stable-baselines3's, and Sample Factory's APPO.

    python benchmarks/atari_speed.py --seconds 60

All have the network of Mnih et al. (2015), 128 steps a trajectory, 4 epochs and minibatches of 256: a step costs the
same work of learning. The peers play by the usual wrappers in processes, ours by ale-py's vector in each worker.
"""

import argparse
import math
import statistics
import tempfile
from pathlib import Path

from measure import disturbed, keep, machine, our_training, peer_training, run_json, spread, table, warning
from peers import peers_python

GAME = "ALE/Pong-v5"
SAME = (
    "algorithm.name=ppo",
    "algorithm.epochs=4",
    "algorithm.num_minibatches=4",
    "algorithm.t_max=128",
    "environment.per_worker=8",
    "network.encoder=nature",
    "evaluation.episodes=0",
    "evaluation.final_episodes=0",
    "stop.solved=false",
)
OURS = {"marl PPO": "float32", "marl PPO, precision auto": "auto"}  # as Atari's presets: bfloat16 where it is fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training run")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of both, alternating; medians count")
    parser.add_argument("--seed", type=int, default=100)
    options = parser.parse_args()
    peers = {
        "stable-baselines3 PPO": (peers_python(), "sb3", "ppo"),
        "Sample Factory APPO": (peers_python("samplefactory"), "samplefactory", "appo"),
    }
    rates: dict[str, list[float]] = {name: [] for name in (*OURS, *peers)}
    num_disturbed = 0
    for repeat in range(options.repeats):
        for name, precision in OURS.items():
            rates[name].append(our_rate(options.seed + repeat, options.seconds, precision))
        limits = {"seed": options.seed + repeat, "solved": math.inf, "max_seconds": options.seconds}
        for name, (python, library, algorithm) in peers.items():
            run = run_json(peer_training(python, library, algorithm, GAME, **limits), limit_s=options.seconds + 180)
            num_disturbed += disturbed(run)
            rates[name].append(run["steps_per_second"])
    medians = {name: statistics.median(found) for name, found in rates.items()}
    rows = [
        [name, spread(found, "{:,.0f}"), *(f"{medians[ours] / medians[name]:.2f}x" for ours in OURS)]
        for name, found in rates.items()
    ]
    print(f"\n{GAME}, environment steps a second while training.\n{machine()}\n")
    print(table(["", "steps/s", *(f"{ours} against it" for ours in OURS)], rows))
    print(warning(num_disturbed))
    keep("atari-speed", {"arguments": vars(options), "rates": rates})


def our_rate(seed: int, seconds: float, precision: str) -> float:
    """Environment steps a second over a run of ``seconds``."""
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as name:
        settings = [*SAME, f"network.precision={precision}", f"stop.minutes={seconds / 60:.6f}"]
        command = our_training(GAME, seed=seed, folder=Path(name), settings=settings)
        return float(run_json(command, limit_s=seconds + 120)["steps_per_second"])


if __name__ == "__main__":
    main()
