"""The loop of workers that learn, and of a learner: get a trajectory, learn, move the weights, without a lock.

Workers that only step their environments have a loop of their own: ``marl/exchanges/observations/stepping.py``.
"""

import time
from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from marl.acting.collect import Episodes
from marl.algorithms.base import Algorithm, Loss, Moment
from marl.data.trajectory import Trajectory
from marl.networks.contract import Acts
from marl.training.minibatches import MinibatchSource
from marl.training.worker_metrics import Telemetry


class Source(Protocol):
    """Where trajectories come from: a worker's ``Rollouts``, or a learner's ``Arrivals``."""

    def collect(self, network: Acts, version: int) -> tuple[Trajectory, Episodes]:
        """The next trajectory, and the episodes that ended in it."""


class LearnedWeights(Protocol):
    """The weights that updates move. An exchange can give workers its own, see ``Worker.learn``."""

    vector: Tensor  # [P + F]  what ``Algorithm.settle`` moves after each step
    num_parameters: int  # P

    def fetch(self) -> None:
        """Give the network the newest weights."""

    def step(self, loss: Loss, rate: float, max_norm: float) -> float:
        """Move the weights along the loss's gradient. Returns its norm; if that is not finite, nothing has moved."""


def train(
    *,
    algorithm: Algorithm,
    network: nn.Module,
    weights: LearnedWeights,
    source: Source,
    minibatches: MinibatchSource,
    telemetry: Telemetry,
    generator: torch.Generator,
    go_on: Callable[[], bool],
    between: Callable[[], object] = lambda: None,
) -> None:
    """Run the loop of one worker, or of a learner, until ``go_on`` returns False; call ``between`` after an update."""
    while go_on():
        version = telemetry.version()  # read before the weights, so that they are at least as new
        weights.fetch()
        start = time.perf_counter()
        trajectory, episodes = source.collect(cast(Acts, network), version)
        collected = time.perf_counter()
        telemetry.collected(episodes.steps)
        moment = Moment(telemetry.progress(), generator)
        for batch in minibatches.batches(trajectory, moment):
            loss = algorithm.loss(network, batch)
            rate = algorithm.learning_rate_at(moment.progress)
            norm = weights.step(loss, rate, algorithm.max_gradient_norm)
            if norm < float("inf"):
                algorithm.settle(weights.vector, weights.num_parameters, telemetry.updates() + 1)
                telemetry.updated(loss.metrics, norm, rate)
            else:
                telemetry.skipped()
            minibatches.learned(loss)
            between()
            weights.fetch()  # for the next batch, take what other workers have learned meanwhile
        telemetry.played(episodes, collected - start, time.perf_counter() - collected)
