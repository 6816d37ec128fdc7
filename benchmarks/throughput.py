"""Environment steps a second: the raw environment, ours in training, stable-baselines3 A2C in training.

    python benchmarks/throughput.py --seconds 10

Only for CartPole-v1: random actions keep LunarLander-v3 high in the air, where its physics is cheap, so
that one is measured in real training (time_to_solve.py, `marl bench`).
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from pathlib import Path

import gymnasium

from measure import disturbed, keep, machine, our_training, peer_training, run_json, table, warning
from peers import peers_python

ENVIRONMENT = "CartPole-v1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each training run")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of all measurements, alternating; best counts")
    parser.add_argument("--peer-threads", type=int, default=0, help="torch threads of the peer; 0: torch's choice")
    parser.add_argument("--seed", type=int, default=100)
    options = parser.parse_args()
    python = peers_python()

    rates: dict[str, list[float]] = {}
    num_disturbed = 0
    for _ in range(options.repeats):
        for num_environments in (16, 64):
            for num_processes in (1, 2):
                name = f"raw, {num_environments} environments, {num_processes} at once"
                rates.setdefault(name, []).append(raw_rate(num_environments, num_processes))
        peer = peer_training(
            python,
            "sb3",
            "a2c",
            ENVIRONMENT,
            seed=options.seed,
            solved=math.inf,
            max_seconds=options.seconds,
            threads=options.peer_threads,
        )
        a2c = run_json(peer, limit_s=options.seconds + 120)
        num_disturbed += disturbed(a2c)
        rates.setdefault("stable-baselines3 A2C, training", []).append(a2c["steps_per_second"])
        rates.setdefault("marl A3C, the preset, training", []).append(our_rate(options.seed, options.seconds))
        wide = our_rate(options.seed, options.seconds, "environment.per_worker=64")
        rates.setdefault("marl A3C, 64 environments a worker, training", []).append(wide)

    best = {name: max(values) for name, values in rates.items()}
    against_peer = best["stable-baselines3 A2C, training"]
    against_raw = best["raw, 64 environments, 2 at once"]
    rows = [
        [name, f"{rate:,.0f}", f"{rate / against_peer:.2f}x", f"{rate / against_raw:.3f}x"]
        for name, rate in best.items()
    ]
    print(f"\n{ENVIRONMENT}, environment steps a second.\n{machine()}\n")
    print(table(["", "steps/s", "against A2C", "against raw, 64, 2 at once"], rows))
    print(warning(num_disturbed))
    keep("throughput", {"arguments": vars(options), "rates": rates})


def our_rate(seed: int, seconds: float, *settings: str) -> float:
    """Steps a second of a training run that does not stop when solved."""
    limits = ["stop.solved=false", f"stop.minutes={seconds / 60:.6f}", *settings]
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as name:
        command = our_training(ENVIRONMENT, seed=seed, folder=Path(name), settings=limits)
        return float(run_json(command, limit_s=seconds + 120)["steps_per_second"])


def raw_rate(num_environments: int, num_processes: int) -> float:
    """Steps a second under random actions, drawn beforehand, all processes at once."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(num_processes)
    with context.Pool(num_processes, initializer=_receive, initargs=(ready,)) as pool:
        return sum(pool.map(_play, [num_environments] * num_processes, chunksize=1))


def _receive(ready) -> None:
    global _ready
    _ready = ready


def _play(num_environments: int, seconds: float = 2.0) -> float:
    environment = gymnasium.make_vec(ENVIRONMENT, num_envs=num_environments, vectorization_mode="vector_entry_point")
    environment.reset(seed=0)
    actions = [environment.action_space.sample() for _ in range(256)]
    _ready.wait(60)  # every process plays at once, as workers do
    started = time.perf_counter()
    num_rounds = 0
    while time.perf_counter() - started < seconds:
        for action in actions:
            environment.step(action)
        num_rounds += 1
    return num_rounds * len(actions) * num_environments / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
