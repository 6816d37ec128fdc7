"""What does a round of gradients cost, beside the gradient itself?

    python benchmarks/gradient_rounds.py

PPO with many epochs of one small minibatch learns nearly all the time. A worker alone makes an update of it as fast as
it can compute one. The same worker on a local child sends each gradient to a parent, and waits for the mean: what it
takes longer is the round. The limit is a message of as many bytes there and back on the same link, by the probe that
``--exchange auto`` makes.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from marl.cluster.fleets.local import LocalFleet
from marl.links.probe import LinkSpeed, probe
from measure import busy_share, keep, machine, our_training, run_json, table

SETTINGS = {
    "algorithm.name": "ppo",
    "algorithm.epochs": 100,
    "algorithm.num_minibatches": 1,
    "algorithm.normalize_advantages": "false",
    "algorithm.t_max": 32,
    "environment.per_worker": 1,
    "exchange.name": "gradients",
    "node.workers": 1,
    "evaluation.episodes": 0,
    "evaluation.final_episodes": 0,
    "report.pictures": "false",
    "stop.solved": "false",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", default="[64, 64]")
    options = parser.parse_args()
    busy = busy_share()
    kinds = {"alone": None, "on 1 child": 1, "on 2 children": 2}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(options.repeats):
        for name, local in kinds.items():
            seconds[name].append(of_an_update(options, number, local))
    speed = link()
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    rows = [
        [name, f"{1e3 * each:.3f}", "" if name == "alone" else f"{1e3 * (each - medians['alone']):.3f}"]
        for name, each in medians.items()
    ]
    print(f"\n{machine()}; {busy:.0%} busy before.\n")
    print(table([f"hidden layers {options.hidden}", "ms an update", "ms a round"], rows))
    print(f"\nAn empty message there and back: {1e3 * speed.round_trip:.3f} ms.")
    keep("gradient-rounds", {"arguments": vars(options), "busy_before": busy, "seconds": seconds, "link": speed})


def of_an_update(options: argparse.Namespace, seed: int, local: int | None) -> float:
    """Seconds from one update to the next."""
    settings = {**SETTINGS, "network.hidden": options.hidden, "stop.minutes": options.seconds / 60}
    words = [f"{key}={value}" for key, value in settings.items()]
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as folder:
        command = our_training(options.env, seed=seed, folder=Path(folder), settings=words, local=local)
        result = run_json(command, limit_s=20 * options.seconds + 300)
    return float(result["seconds"]) / float(result["updates"])


def link() -> LinkSpeed:
    """The link to a local child."""
    with LocalFleet(1) as fleet:
        (endpoint,) = fleet.open(1, print)
        return probe(endpoint.meet(), name="parent")


if __name__ == "__main__":
    main()
