"""The only worker loop: play, learn, move the shared weights, without a lock."""

import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from marl.acting.collect import Acts, Collector
from marl.algorithms.base import Algorithm, Loss, Moment
from marl.training.flat import Flat
from marl.training.lessons import Lessons
from marl.training.optimizers import Optimizer
from marl.training.statistics import Statistics
from marl.training.telemetry import Telemetry


def train(
    *,
    algorithm: Algorithm,
    network: nn.Module,
    local: Flat,
    shared: Tensor,
    optimizer: Optimizer,
    collector: Collector,
    lessons: Lessons,
    statistics: Statistics,
    telemetry: Telemetry,
    generator: torch.Generator,
    go_on: Callable[[], bool],
) -> None:
    """One worker's life, until ``go_on`` says no."""
    while go_on():
        local.weights.copy_(shared)
        start = time.perf_counter()
        trajectory, episodes = collector.collect(cast(Acts, network), statistics.normalizer, telemetry.version())
        statistics.learn_from(collector)
        collected = time.perf_counter()
        moment = Moment(telemetry.progress(), generator)
        for batch in lessons.batches(trajectory, moment):
            loss = algorithm.loss(network, batch)
            rate = algorithm.learning_rate_at(moment.progress)
            norm = hogwild_step(shared, local, optimizer, loss, rate, algorithm.max_gradient_norm)
            algorithm.settle(shared, local.gradient.numel(), telemetry.updates())
            local.weights.copy_(shared)  # the next batch is learned from with what all have learned meanwhile
            lessons.learned(loss)
            telemetry.updated(loss.metrics, norm, rate)
        telemetry.played(collector, episodes, collected - start, time.perf_counter() - collected)


def hogwild_step(shared: Tensor, local: Flat, optimizer: Optimizer, loss: Loss, rate: float, max_norm: float) -> float:
    """Gradient of the local weights, clipped, applied to the shared ones; a gradient that is not finite is skipped."""
    local.gradient.zero_()
    loss.total.backward()  # type: ignore[no-untyped-call]
    norm = float(torch.linalg.vector_norm(local.gradient))
    if norm < float("inf"):  # False for NaN too
        if norm > max_norm:
            local.gradient.mul_(max_norm / norm)
        optimizer.step(shared[: local.gradient.numel()], local.gradient, rate)  # float buffers lie behind
    return norm
