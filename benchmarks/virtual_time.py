"""Are virtual seconds those of real machines?

    python benchmarks/virtual_time.py [--exchange gradients|experience]

Three questions, each to real local children of one worker; seconds count between the first and the last rounds.

- As many children as cores (2), which compute: virtual seconds must be those that pass.
- More children than cores (8), whose environment sleeps 2 ms a step: the same.
- More children than cores (4), which compute: a child must make as many steps in a virtual second as one child, which
  has a core to itself, in a real one.

With ``experience`` the learner needs a core, too. So there is one child that computes in place of two, and its virtual
seconds are compared with those of as many steps without a virtual clock: with it, child and learner wait for each other
where machines of their own would not. No third question: what the learner of four children does in a second is more
than what that of one does.

Close other programs first: what they take from the children takes real time and no virtual time. Linux only.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from clusters import SLEEPER, see_sleeper
from measure import busy_share, keep, machine, our_training, run_json, table

SKIPPED = 0.2  # of the lines of metrics: some children still start


class Measured(NamedTuple):
    """What passed between two rounds."""

    steps: int
    seconds: float
    virtual_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--env", default="CartPole-v1", help="that computes")
    parser.add_argument("--sleep", type=float, default=0.002, help="seconds of each step of the one that sleeps")
    parser.add_argument("--exchange", choices=("weights", "gradients", "experience"), default="weights")
    parser.add_argument("--every", type=int, default=10_000, help="weights: steps of a round of a child that computes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    busy = busy_share()
    see_sleeper()
    sleeping = {"environment.per_worker": 1, "environment.kwargs": f"{{sleep_s={options.sleep}}}"}
    learns = options.exchange == "experience"
    computing = {"1 child and the learner": 1} if learns else {"2 children": 2, "4 children": 4, "1 child": 1}
    runs = {name: measure(options.env, number, options, every=options.every) for name, number in computing.items()}
    if learns:
        runs["without a virtual clock"] = measure(options.env, 1, options, every=options.every, virtual=False)
    asleep = measure(SLEEPER, 8, options, every=int(0.5 / options.sleep), **sleeping)
    first = next(iter(runs))
    real = runs["without a virtual clock" if learns else first]
    rows = [
        [f"{first} on 2 cores, virtual / real seconds", _ratio(runs[first], real), "0.9 to 1.1"],
        [f"8 children that sleep {1000 * options.sleep:g} ms a step, virtual / real seconds", _ratio(asleep, asleep),
         "0.95 to 1.05"],
    ]  # fmt: skip
    if not learns:
        four, one = runs["4 children"], runs["1 child"]
        ratio = four.steps / 4 / four.virtual_seconds / (one.steps / one.seconds)
        rows.append(
            ["a child of 4 on 2 cores, steps per virtual second / one child, per real second", f"{ratio:.3f}", ""]
        )
    runs["8 children that sleep"] = asleep
    print(f"\n{machine()}; {busy:.0%} busy before.\n")
    print(table(["", "ratio", "to reach"], rows))
    keep("virtual_time", {"arguments": vars(options), "busy_before": busy, "runs": runs})


def _ratio(measured: Measured, real: Measured) -> str:
    """Virtual seconds of one run to seconds of another, for as many steps."""
    return f"{measured.virtual_seconds / measured.steps / (real.seconds / real.steps):.3f}"


def measure(
    environment: str, children: int, options: argparse.Namespace, *, every: int, virtual: bool = True, **settings: Any
) -> Measured:
    """Train on this number of children, and read the lines of metrics."""
    settings |= {
        "algorithm.name": "ppo",
        "clock.virtual": str(virtual).lower(),
        "exchange.name": options.exchange,
        "node.workers": 1,
        "exchange.every": f"{every} steps",
        "exchange.batch": children if options.exchange == "experience" else 1,
        "evaluation.episodes": 0,
        "evaluation.final_episodes": 0,
        "report.every_seconds": 0.25,
        "report.sinks": '["metrics"]',
        "report.pictures": "false",
        "stop.solved": "false",
        "stop.minutes": options.seconds / 60,
    }
    words = [f"{key}={value}" for key, value in settings.items()]
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as folder:
        place = Path(folder)
        command = our_training(environment, seed=options.seed, folder=place, settings=words, local=children)
        run_json(command, limit_s=20 * options.seconds + 300)
        (file,) = place.glob("runs/*/metrics.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    measured = _between_rounds(lines)
    print(f"{children} x {environment}: {measured}", flush=True)
    return measured


def _between_rounds(lines: list[dict[str, Any]]) -> Measured:
    """From a line in which a round is counted to the last such line: virtual time stands still within a round."""
    lines = [{"virtual_seconds": line["seconds"]} | line for line in lines]  # where there is no virtual clock
    pairs = itertools.pairwise(lines)
    counted = [now for before, now in pairs if now["virtual_seconds"] > before["virtual_seconds"]]
    if len(counted) < 5:
        raise SystemExit(f"expected 5 lines of metrics with another round, got {len(counted)}: give more --seconds")
    first, last = counted[int(SKIPPED * len(counted))], counted[-1]
    return Measured(*(last[name] - first[name] for name in Measured._fields))


if __name__ == "__main__":
    main()
