"""Checkpoints, and files of best weights beside them, that no honest run writes."""

import os
from pathlib import Path
from typing import Any

import torch

from marl.config.files import load_config, to_toml
from marl.config.settings import Config, to_tree
from marl.data.node.memory import NUM_VECTORS
from marl.training.flat import flatten
from marl.training.saved.weights_file import FORMAT, network_tensors
from tests.hostile import ONES
from tests.hostile_makers import DEEP, DIGITS, SPACES, Write, acts, bytes_of, good, weights

METER = {"returns": [1.0], "lengths": [5], "episodes": 1, "steps": 5, "updates": 1, "seconds": 1.0, "first_mean": 1.0}
POINT = [5, 1.0, 1.0, 0.0]
CURVE = {"spacing": 1, "points": [POINT]}
STEPS = 5


def run_config() -> Config:
    return load_config("CartPole-v1", {"seed": 1, "stop.steps": 1_000, "node.workers": 1})


def checkpoint(*, tensors: dict[str, Any] | None = None, drop: str = "", **changes: Any) -> Write:
    """A run folder with a checkpoint in which tensors or parts of the description are others (``meter__curve``)."""

    def write(path: Path) -> None:
        config = run_config()
        (path.parent / "config.toml").write_text(to_toml(config))
        network = config.algorithm.build_network(SPACES, config.network, 1)
        numbers = sum(each.numel() for each in network.parameters())
        learned = {
            "weights": flatten(network).weights,
            "optimizer": torch.zeros(NUM_VECTORS, numbers),
            "optimizer_steps": torch.zeros(1),
            "observations": torch.ones(1, 9, dtype=torch.float64),
            "rewards": torch.ones(1, 3, dtype=torch.float64),
            "normalizer": torch.ones(9, dtype=torch.float64),
        }
        counts = {"steps": STEPS, "updates": 1, "seconds": 1.0, "segment": 1, "meter": {**METER, "curve": CURVE}}
        described = {"config": to_tree(config), **counts, "best_mean": 1.0}
        content = {**network_tensors(network), **learned, **(tensors or {})}
        weights(tensors=content, drop=drop, **{**described, **changes})(path)

    return write


def best(write: Write) -> Write:
    """A run folder whose checkpoint is good, and beside it a file of the best weights."""

    def write_both(path: Path) -> None:
        checkpoint()(path.parent / "checkpoint.pt")
        write(path)

    return write_both


def row(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


BELOW = row(9.0, *[0.0] * 4, *[-1.0] * 4)
P = sum(each.numel() for each in good()[0].values())
CHECKPOINTS: dict[str, Write] = {
    # what was told
    "text for a meter": checkpoint(meter="many"),
    "a list for a meter": checkpoint(meter=[1]),
    "no steps": checkpoint(steps=None),
    "steps below nothing": checkpoint(steps=-1),
    "a segment of text": checkpoint(segment="first"),
    "an endless mean": checkpoint(best_mean=float("inf")),
    "seconds that are NaN": checkpoint(seconds=float("nan")),
    "a curve that never ends": checkpoint(meter__curve={"spacing": 0, "points": [POINT] * 400}),
    "a curve of text": checkpoint(meter__curve={"spacing": "1", "points": [["5", "1", "1", "0"]]}),
    "a curve of many points": checkpoint(meter__curve={"spacing": 1, "points": [POINT] * 9_000}),
    "lengths of text": checkpoint(meter__lengths=["5"]),
    "deep JSON": weights(text='{"a":' * DEEP),
    "5,000 digits": weights(text=f'{{"format": "{FORMAT}", "steps": {DIGITS}}}'),
    # statistics
    "squares below nothing": checkpoint(tensors={"normalizer": BELOW}),
    "squares of observations below nothing": checkpoint(tensors={"observations": BELOW[None]}),
    "squares of returns below nothing": checkpoint(tensors={"rewards": row(9.0, 0.0, -1.0)[None]}),
    "a count below nothing": checkpoint(tensors={"rewards": row(-9.0, 0.0, 1.0)[None]}),
    "statistics of many workers": checkpoint(tensors={"observations": torch.ones(3, 9, dtype=torch.float64)}),
    "flat statistics": checkpoint(tensors={"rewards": row(1.0, 1.0, 1.0)}),
    "statistics of nothing": checkpoint(tensors={"rewards": torch.ones(1, 0, dtype=torch.float64)}),
    "statistics without a shape": checkpoint(tensors={"observations": torch.tensor(1.0)}),
    "no statistics": checkpoint(drop="observations"),
    # what was learned
    "no weights": checkpoint(drop="weights"),
    "weights of another length": checkpoint(tensors={"weights": ONES}),
    "weights that are NaN": checkpoint(tensors={"network.actor.head.weight": torch.full((2, 64), torch.nan)}),
    "an optimizer of another shape": checkpoint(tensors={"optimizer": ONES}),
    "an optimizer that is NaN": checkpoint(tensors={"optimizer": torch.full((NUM_VECTORS, P), torch.nan)}),
    "mean squares below nothing": checkpoint(tensors={"optimizer": torch.full((NUM_VECTORS, P), -1.0)}),
    "updates below nothing": checkpoint(tensors={"optimizer_steps": torch.tensor([-3.0])}),
    "a missing layer": checkpoint(drop="network.actor.head.weight"),
    "a long tail": checkpoint(tensors={"more": torch.zeros(5_000_000)}),
    "an empty file": bytes_of(b""),
    "a FIFO": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
}

BEST: dict[str, Write] = {
    "a long tail": best(checkpoint(tensors={"more": torch.zeros(5_000_000)})),
    "squares below nothing": best(checkpoint(tensors={"normalizer": BELOW})),
    "a flat normaliser": best(checkpoint(tensors={"normalizer": torch.ones(3, 3, dtype=torch.float64)})),
    "another shape": best(checkpoint(tensors={"network.actor.head.weight": torch.ones(3, 64)})),
    "weights that are NaN": best(checkpoint(tensors={"network.actor.head.weight": torch.full((2, 64), torch.nan)})),
    "another space": best(acts(categories=[3])),
    "no spaces": best(weights(spaces=None)),
    "steps of text": best(checkpoint(steps="many")),
    "no steps": best(checkpoint(steps=None)),
    "deep JSON": best(weights(text='{"a":' * DEEP)),
    "an empty file": best(bytes_of(b"")),
    "a FIFO": best(os.mkfifo),
    "a folder": best(Path.mkdir),
}
