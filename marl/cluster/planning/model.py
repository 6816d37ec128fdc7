"""A model of how long children need for what one machine learns in a second, by the way in which they share.

Learning from a trajectory of B environments takes a machine's worker ``T * step(B) + U * update(M)`` seconds. Children
divide the trajectory. What that saves is weighed against what sharing costs, and against what is learned less from the
same steps where children share seldom or late.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from marl.cluster.planning.costs import Costs
from marl.cluster.planning.machines import Machine

# Of the steps of N children, this share counts, by how many updates of its own each makes between two rounds: the
# interquartile means of 12 seeds of a swing-up task (docs/averaging.md), as ``1 / (1 + lost * (N - 1))``.
LOST_BETWEEN_ROUNDS = ((1.0, 0.017), (16.0, 0.096), (128.0, 0.222))  # updates, lost
LOST_BY_HOGWILD = 0.3  # workers that share weights in memory, each with a batch of its own
LOST_BY_LAG = 0.03  # of N actors that play while one learner learns
MESSAGE_S = 3e-4  # of the parent's time for a message of a child and its answer
PASS_S = 2e-10  # of the parent's time for each byte of them


class Task(NamedTuple):
    """What is to be learned from."""

    rows: int  # environments of a trajectory
    length: int  # its steps
    updates: int
    minibatch: float  # transitions of an update
    short_rounds: int  # of a trajectory in ``gradients``, that are no updates
    weights_bytes: int
    step_bytes: float  # of one transition on a link
    exchanges: tuple[str, ...]  # that its settings allow


class Forecast(NamedTuple):
    """One way to share, and what it should give."""

    exchange: str
    rows: int  # environments of a worker
    trajectories: int  # between two rounds; 0: there are none
    speedup: float  # against the best single machine


def alone(task: Task, costs: Costs, machine: Machine) -> float:
    """Trajectories that one machine learns from in a second, with all its workers, as one that lost nothing would."""
    seconds = task.length * costs.step.at(task.rows) + task.updates * costs.update.at(task.minibatch)
    workers = machine.workers
    crowd = max(1.0, workers / machine.cores)
    return workers * kept(LOST_BY_HOGWILD, workers) / (seconds * machine.slowness * crowd)


def forecasts(task: Task, costs: Costs, here: Machine, machines: Sequence[Machine]) -> list[Forecast]:
    """What each way to share gives, the best first.

    Args:
        here: this machine, where a learner would run.
        machines: of the children.
    """
    best = max(alone(task, costs, each) for each in machines)
    ways = [
        *(_weights(task, costs, machines, every) for every in (1, 2, 4, 8, 16, 32)),
        _gradients(task, costs, machines),
        _experience(task, costs, here, machines),
    ]
    found = [way._replace(speedup=way.speedup / best) for way in ways if way.exchange in task.exchanges]
    return sorted(found, key=lambda each: -each.speedup)


def kept(lost: float, count: int) -> float:
    """The share of their steps that counts, of so many that learn together."""
    return 1.0 / (1.0 + lost * (count - 1))


def lost_between_rounds(updates: float) -> float:
    """See ``LOST_BETWEEN_ROUNDS``: between its points by logarithms, beyond them as at the last two."""
    points = [(math.log(each), math.log(lost)) for each, lost in LOST_BETWEEN_ROUNDS]
    at = math.log(max(updates, 1.0))
    (x0, y0), (x1, y1) = (points[0], points[1]) if at <= points[1][0] else (points[1], points[2])
    return math.exp(y0 + (at - x0) * (y1 - y0) / (x1 - x0))


def _shared(task: Task, costs: Costs, machines: Sequence[Machine]) -> tuple[int, float, float, float]:
    """Rows of each worker where all divide a trajectory; the seconds of its playing and of its learning at the slowest
    child; and the trajectories that all have together.
    """
    workers = sum(each.workers for each in machines)
    rows = max(1, task.rows // workers)
    share = rows / task.rows
    slowest = max(each.slowness * max(1.0, each.workers / each.cores) for each in machines)
    playing = task.length * costs.step.at(rows) * slowest
    learning = task.updates * costs.update.at(task.minibatch * share) * slowest
    return rows, playing, learning, min(1.0, workers * share)


def _round(machines: Sequence[Machine], up: float, down: float) -> float:
    """Seconds of one round in which each child sends and gets so many bytes."""
    link = max(each.round_trip + (up + down) / each.bytes_per_second for each in machines)
    return link + len(machines) * (MESSAGE_S + PASS_S * (up + down))


def _weights(task: Task, costs: Costs, machines: Sequence[Machine], every: int) -> Forecast:
    rows, playing, learning, made = _shared(task, costs, machines)
    seconds = playing + learning + _round(machines, task.weights_bytes, task.weights_bytes) / every
    lost = lost_between_rounds(every * task.updates)
    return Forecast("weights", rows, every, made * kept(lost, _workers(machines)) / seconds)


def _gradients(task: Task, costs: Costs, machines: Sequence[Machine]) -> Forecast:
    rows, playing, learning, made = _shared(task, costs, machines)
    rounds = task.updates * _round(machines, task.weights_bytes, task.weights_bytes)
    rounds += task.short_rounds * _round(machines, 0, 0)
    lost = lost_between_rounds(1)
    return Forecast("gradients", rows, 0, made * kept(lost, _workers(machines)) / (playing + learning + rounds))


def _experience(task: Task, costs: Costs, here: Machine, machines: Sequence[Machine]) -> Forecast:
    rows, playing, _, made = _shared(task, costs, machines)
    up = task.length * task.rows * task.step_bytes / len(machines)
    link = _round(machines, up, task.weights_bytes)
    learning = task.updates * costs.update.at(task.minibatch) * here.slowness
    seconds = max(playing + link, learning + len(machines) * (MESSAGE_S + PASS_S * up))
    return Forecast("experience", rows, 0, made * kept(LOST_BY_LAG, _workers(machines)) / seconds)


def _workers(machines: Sequence[Machine]) -> int:
    return sum(each.workers for each in machines)
