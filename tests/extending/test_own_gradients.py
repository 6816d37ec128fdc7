"""An exchange of gradients from outside the package: it says what a worker does with its losses."""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.base import Loss
from marl.config.files import load_config
from marl.data.node.memory import node_memory
from marl.errors import ConfigError
from marl.exchanges.base import ChildFacts, ParentFacts
from marl.exchanges.conversation import converse, report
from marl.exchanges.run import RunSettings
from marl.links.memory import memory_pair
from marl.training.flat import flatten
from marl.training.optimizers import OptimizerSettings
from marl.training.saved.weights_file import read
from tests.commands import BARE, MARL, PATIENCE_S, python, succeed
from tests.extending.gradients import GradientsChild, GradientsParent, SentGradients, gradient_fields

GRADIENTS = "tests.extending.gradients:Gradients"
START, RATE, LONGEST = [1.0, -2.0, 0.5], 0.1, 6.0  # the third number is a buffer
LOSSES = [[3.0, 4.0], [-6.0, 8.0], [1.0, 0.0]]  # factors of the weights, so these are the gradients
SENT = [[3.0, 4.0], [-3.6, 4.8], [1.0, 0.0]]  # clipped to a length of 6


def by_sgd() -> list[list[float]]:
    weights, found = list(START), []
    for gradient in SENT:
        weights = [w - RATE * d for w, d in zip(weights, [*gradient, 0.0], strict=True)]
        found.append(weights)
    return found


def by_adam() -> list[list[float]]:
    s, found = OptimizerSettings(), []
    weights, mean, square = list(START), [0.0, 0.0], [0.0, 0.0]
    for count, gradient in enumerate(SENT, 1):
        for i, d in enumerate(gradient):
            mean[i] = s.beta1 * mean[i] + (1 - s.beta1) * d
            square[i] = s.beta2 * square[i] + (1 - s.beta2) * d * d
            root = (square[i] / (1 - s.beta2**count)) ** 0.5
            weights[i] -= RATE * mean[i] / (1 - s.beta1**count) / (root + s.epsilon)
        found.append(list(weights))
    return found


class Product(nn.Module):
    """Two parameters and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("more", torch.zeros(1))


@contextmanager
def connected(child: GradientsChild, parent: GradientsParent) -> Iterator[None]:
    """Both sides speak over a link, each in its own thread."""
    over, (above, below) = threading.Event(), memory_pair()
    for link in (above, below):
        link.limit(10**6)
    threads = [
        threading.Thread(target=report, args=(below, child, over), kwargs={"name": "child"}),
        threading.Thread(target=converse, args=(above, "child", parent, over), kwargs={"name": "parent"}),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE_S)


@pytest.mark.parametrize(("name", "expected"), [("sgd", by_sgd()), ("adam", by_adam())])
def test_the_parent_makes_the_optimizers_step_of_each_gradient(name: str, expected: list[list[float]]) -> None:
    more = gradient_fields(2, workers=2)
    block = node_memory(num_weights=3, num_parameters=2, observation_size=1, workers=2, more=more)
    run: Any = RunSettings(optimizer=OptimizerSettings(name))
    nothing: Any = None
    parent = GradientsParent(ParentFacts(run, nothing, torch.tensor(START), 2, name="parent", children=1))
    child = GradientsChild(ChildFacts(block, "child", run, nothing))
    networks = [Product(), Product()]
    workers = [SentGradients(flatten(network), block, number) for number, network in enumerate(networks)]
    with connected(child, parent):
        assert child.started.wait(PATIENCE_S)
        for number, factors in enumerate(LOSSES):
            weights, network = workers[number % 2], networks[number % 2]
            weights.fetch()
            total: Tensor = (network.weight * torch.tensor(factors)).sum()
            norm = weights.step(Loss(total, {}), RATE, LONGEST)  # returns when the parent has answered
            assert norm == pytest.approx(torch.tensor(factors).norm().item())
            assert parent.current.version == child.version == number + 1
            assert parent.current.weights.tolist() == pytest.approx(expected[number])
            assert torch.equal(block["weights"], parent.current.weights)
        assert math.isnan(workers[0].step(Loss(networks[0].weight.sum() * math.nan, {}), RATE, LONGEST))  # not sent
        assert parent.current.version == len(LOSSES)


def test_a_run_on_children_trains_by_it(tmp_path: Path) -> None:
    sizes = ("--set", "environment.per_worker=8", "--set", "algorithm.t_max=5", "--steps", "4000")
    words = ("--exchange", GRADIENTS, *sizes, *BARE)
    succeed(*MARL, "parent", "CartPole-v1", "--local", "2", *words, cwd=tmp_path)
    (folder,) = tmp_path.glob("runs/*")
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    checkpoint = read(folder / "checkpoint.pt")
    version, steps = checkpoint.info["version"], checkpoint.info["steps"]
    assert version * 8 * 5 >= steps >= 4000  # a gradient is made of 5 steps of 8 environments, or fewer after resets
    assert last["updates"] > 0
    assert "mean" in succeed(*MARL, "evaluate", "weights.pt", "--episodes", "2", cwd=tmp_path)


def test_alone_nobody_would_take_the_gradients(tmp_path: Path) -> None:
    done = python(*MARL, "train", "CartPole-v1", "--exchange", GRADIENTS, cwd=tmp_path)
    assert done.returncode != 0
    assert "needs children" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_normaliser_has_nobody_who_carries_its_statistics() -> None:
    with pytest.raises(ConfigError, match="normalise nothing"):
        load_config("CartPole-v1", {"exchange.name": GRADIENTS, "environment.normalize_observations": True})
