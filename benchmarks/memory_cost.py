"""What do a recurrent core and observations in parts cost, beside a plain network on the same numbers?

    python benchmarks/memory_cost.py

A worker's own loop plays and trains in this process for as many steps with each network, in turn: a plain MLP on the
four numbers of CartPole as a Box, the same with the numbers in a Dict, and the MLP with a core between its hidden
layers and its heads. "single" steps environments one after another, as most come; "vector" is gymnasium's own vector of
CartPole, whose step costs almost nothing. Ratios are of each turn to the plain network in the same turn, of processor
seconds (user and system), which other programs disturb little, and of wall-clock seconds.
"""

import argparse
import time
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation

from marl.algorithms.build import build_network
from marl.cluster.find_spaces import find_spaces
from marl.cluster.node import Node
from marl.cluster.worker import Job, work
from marl.config.files import load_config
from marl.config.overrides import parse_override
from marl.config.settings import Config
from marl.processes.group import ProcessGroup
from marl.training.flat import flatten
from measure import busy_share, keep, machine, spread, table

WANTED = 1.4
HERE = "memory_cost"


def whole() -> gymnasium.Env[Any, Any]:
    """CartPole as it comes, one at a time."""
    return gymnasium.make("CartPole-v1")


def parts() -> gymnasium.Env[Any, Any]:
    """The same numbers in a Dict."""
    inner = gymnasium.make("CartPole-v1")
    box = cast(spaces.Box, inner.observation_space)
    halves = {"cart": slice(0, 2), "pole": slice(2, 4)}
    space = spaces.Dict({name: spaces.Box(box.low[at], box.high[at]) for name, at in halves.items()})
    return TransformObservation(inner, lambda seen: {name: seen[at] for name, at in halves.items()}, space)


class Kind(NamedTuple):
    """What is compared."""

    name: str
    environment: str
    settings: dict[str, Any] = {}  # noqa: RUF012
    beside: str = ""  # the plain one


KINDS = [
    Kind("single, box", f"{HERE}:whole"),
    Kind("single, dict", f"{HERE}:parts", beside="single, box"),
    Kind("single, gru", f"{HERE}:whole", {"network.core": "gru"}, "single, box"),
    Kind("single, lstm", f"{HERE}:whole", {"network.core": "lstm"}, "single, box"),
    Kind("vector, box", "CartPole-v1"),
    Kind("vector, gru", "CartPole-v1", {"network.core": "gru"}, "vector, box"),
    Kind("vector, lstm", "CartPole-v1", {"network.core": "lstm"}, "vector, box"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithms", nargs="*", default=["a3c", "ppo", "impala", "apex_dqn"])
    parser.add_argument("--steps", type=int, default=16_000, help="of each measurement")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all")
    options = parser.parse_args()
    more = dict(map(parse_override, options.set))
    busy, found = busy_share(), {}
    for algorithm in options.algorithms:
        configs = {kind.name: config_of(kind, algorithm, options.steps, more) for kind in KINDS}
        for kind in KINDS:
            seconds(configs[kind.name])  # once to warm up
        taken = [{kind.name: seconds(configs[kind.name]) for kind in KINDS} for _ in range(options.turns)]
        found[algorithm] = taken
        rows = [row(kind, taken, options.steps) for kind in KINDS]
        header = [algorithm, "steps per processor second", "processor time", "wall-clock time"]
        print(f"\n{table(header, rows)}", flush=True)
    print(f"\nWanted: at most {WANTED:g}x. {busy:.0%} of the machine was busy before.\n{machine()}")
    print(keep("memory_cost", {"busy": busy, "turns": found}))


def config_of(kind: Kind, algorithm: str, steps: int, more: dict[str, Any]) -> Config:
    """The preset of CartPole for the algorithm, in this kind's environment."""
    settings = {
        "algorithm.name": algorithm, "environment.id": kind.environment, "exchange.name": "weights", "seed": 1,
        "node.workers": 1, "stop.steps": steps, "stop.solved": False, **kind.settings, **more,
    }  # fmt: skip
    return load_config("CartPole-v1", settings)


def seconds(config: Config) -> tuple[float, float]:
    """Processor and wall-clock seconds of a worker's loop, from its first step to its last."""
    found = find_spaces(config)
    network = build_network(config.algorithm, found, config.network, 1)
    node = Node(config, found, network, flatten(network).weights, ProcessGroup(), 1)  # for its memory
    before = time.process_time(), time.perf_counter()
    work(cast(Any, None), Job(config, 0, 0), node.block)
    return time.process_time() - before[0], time.perf_counter() - before[1]


def row(kind: Kind, taken: list[dict[str, tuple[float, float]]], steps: int) -> list[str]:
    """One line of the table."""
    rate = spread([steps / turn[kind.name][0] for turn in taken], "{:,.0f}")
    if not kind.beside:
        return [kind.name, rate, "1", "1"]
    ratios = [[turn[kind.name][which] / turn[kind.beside][which] for turn in taken] for which in (0, 1)]
    middle = float(np.median(ratios[0]))
    return [
        kind.name,
        rate,
        spread(ratios[0], "{:.2f}x") + (" !" if middle > WANTED else ""),
        spread(ratios[1], "{:.2f}x"),
    ]


if __name__ == "__main__":
    main()
