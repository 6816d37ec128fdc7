"""A model of how long children need for what one machine learns in a second, by the way in which they share.

Learning from a trajectory of B environments takes a machine's worker ``T * step(B) + U * update(M)`` seconds. Children
divide the trajectory. What that saves is weighed against what sharing costs, and against what is learned less from the
same steps where children share seldom or late.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from marl.cluster.planning.costs import Costs
from marl.cluster.planning.machines import Machine
from marl.exchanges.virtual_time import MOST_UNDER_WAY

# Of the steps of N children, this share counts, by how many updates of its own each makes between two rounds: the
# interquartile means of 12 seeds of a swing-up task (docs/averaging.md), as ``1 / (1 + lost * (N - 1))``.
LOST_BETWEEN_ROUNDS = ((1.0, 0.017), (16.0, 0.096), (128.0, 0.222))  # updates, lost
LOST_BY_HOGWILD = 0.3  # workers that share weights in memory, each with a batch of its own
LOST_BY_LAG = 0.03  # of N actors that play while one learner learns; of gradients one step late: assumed
LOST_BY_ROUND = 0.15  # of actors a round later still: a tenth on the swing-up task, more on LunarLander-v3
LOST_BY_LENGTH = 0.25  # of trajectories twice as long, where no more updates are made: LunarLander-v3, seeds 11 to 13
LOST_BY_ARRIVAL = 0.1  # gradients that move the weights as they come
SHORTEST = 32  # steps of a part of a trajectory: of 16, one of three seeds of that task needed four times as many
WHOLE, ROUNDED = ("float32", 4.0, 1.0), ("int8", 1.0, 0.97)  # codec, bytes of a number, share that counts
MESSAGE_S = 3e-4  # of the parent's time for a message of a child and its answer
PASS_S = 2e-10  # of the parent's time for each byte of them


class Task(NamedTuple):
    """What is to be learned from."""

    rows: int  # environments of a trajectory
    length: int  # its steps
    updates: int
    minibatch: float  # transitions of an update
    short_rounds: int  # of a trajectory in ``gradients``, that are no updates of the whole
    weights: int  # numbers
    step_bytes: float  # of one transition on a link
    exchanges: tuple[str, ...]  # that its settings allow
    fewer: tuple[float, ...] = ()  # the updates from what 1, 2, ... environments play; none: as many from any number
    shortest: int = SHORTEST  # steps that a worker plays at least, where there are fewer environments than workers

    def updates_of(self, rows: int) -> float:
        """The updates that are made from a part of the trajectory: minibatches of sequences may be fewer."""
        return self.fewer[rows - 1] if rows <= len(self.fewer) else self.updates


class Forecast(NamedTuple):
    """One way to share, and what it should give."""

    exchange: str
    rows: int  # environments of a worker
    length: int  # steps that it plays in each
    settings: dict[str, str]  # of the exchange
    trajectories: int  # between two rounds; 0: there are none
    kept: float  # the share of the children's steps that counts
    speedup: float  # against the best single machine
    longer: int = 1  # how many times as long as the task's the trajectory is that is learned from at once
    under_way: int = 0  # rounds of actors that one learner learns from; 0: there is none
    batch: float = 1.0  # transitions that an update learns from, in all workers together, against one of the task

    @property
    def rate(self) -> float:
        """How many times as large as the task's the learning rate should be: as the noise of its gradient, by which
        Adam divides, goes with the root of the batch (docs/averaging.md). A smaller batch keeps it.
        """
        return math.sqrt(max(1.0, self.batch))


class Reference(NamedTuple):
    """What a speed-up is measured against."""

    steps_per_second: float  # that count, of the best machine alone
    kept: float  # the share of the children's steps that counts

    def speedup(self, steps_per_second: float) -> float:
        """The speed-up of children that make this number of steps a second together."""
        return self.kept * steps_per_second / self.steps_per_second


def alone(task: Task, costs: Costs, machine: Machine) -> float:
    """Trajectories a second that count, of one machine with all its workers."""
    seconds = task.length * costs.step.at(task.rows) + task.updates * costs.update.at(task.minibatch)
    workers = machine.workers
    return workers * kept(LOST_BY_HOGWILD, workers) / (seconds * machine.slowness * _crowd(machine))


def forecasts(task: Task, costs: Costs, here: Machine, machines: Sequence[Machine]) -> list[Forecast]:
    """What each way to share gives, the best first.

    Args:
        here: this machine, where a learner would run, as it would train alone.
        machines: of the children.
    """
    best = best_alone(task, costs, (here, *machines))
    ways = [
        *(
            _weights(task, costs, here, machines, every, codec)
            for every in (1, 2, 4, 8, 16, 32)
            for codec in (WHOLE, ROUNDED)
        ),
        *(
            _gradients(task, costs, here, machines, form, codec)
            for form in ("exact", "delayed", "asynchronous")
            for codec in (WHOLE, ROUNDED)
        ),
        *(
            _experience(task, costs, here, machines, longer, rounds)
            for longer in (1, 2)
            for rounds in range(2, MOST_UNDER_WAY + 1)
        ),
    ]
    found = [way._replace(speedup=way.speedup / best) for way in ways if way.exchange in task.exchanges]
    return sorted(found, key=lambda each: -each.speedup)


def best_alone(task: Task, costs: Costs, machines: Sequence[Machine]) -> float:
    """Trajectories a second that count, of the best of these machines alone."""
    return max(alone(task, costs, each) for each in machines)


def reference_of(task: Task, costs: Costs, machines: Sequence[Machine], way: Forecast) -> Reference:
    """What the speed-up of a way to share is measured against."""
    return Reference(best_alone(task, costs, machines) * task.rows * task.length, way.kept)


def kept(lost: float, count: int) -> float:
    """The share of their steps that counts, where ``count`` workers learn together."""
    return 1.0 / (1.0 + lost * (count - 1))


def lost_between_rounds(updates: float) -> float:
    """See ``LOST_BETWEEN_ROUNDS``: between its points by logarithms, beyond them as at the last two."""
    points = [(math.log(each), math.log(lost)) for each, lost in LOST_BETWEEN_ROUNDS]
    at = math.log(max(updates, 1.0))
    (x0, y0), (x1, y1) = (points[0], points[1]) if at <= points[1][0] else (points[1], points[2])
    return math.exp(y0 + (at - x0) * (y1 - y0) / (x1 - x0))


Codec: TypeAlias = tuple[str, float, float]  # see ``WHOLE``


class _Shared(NamedTuple):
    """A trajectory that all workers divide among them."""

    rows: int  # of each worker
    length: int  # likewise
    playing: float  # seconds of one worker of this machine
    updates: float
    learning: float  # likewise, of all updates
    slowest: float  # how many times as long the slowest child takes
    usual: float  # likewise, the mean of all
    made: float  # the part of a trajectory that all have together
    batch: float  # likewise, where none is left out
    workers: int
    here: int  # of these, on this machine


def _shared(task: Task, costs: Costs, machines: Sequence[Machine]) -> _Shared:
    workers = sum(each.workers for each in machines)
    rows, length = max(1, task.rows // workers), task.length
    if workers > task.rows:  # its steps are divided, too
        length = max(min(length, task.shortest), -(-task.rows * length // workers))
    share = rows * length / (task.rows * task.length)
    slow = [each.slowness * (1.0 if each.here else _crowd(each)) for each in machines]
    usual = len(slow) / sum(1.0 / each for each in slow)
    playing = length * costs.step.at(rows)
    updates = task.updates_of(rows)
    learning = updates * costs.update.at(task.minibatch * share * task.updates / updates)
    here, whole = sum(each.workers for each in machines if each.here), workers * share
    return _Shared(rows, length, playing, updates, learning, max(slow), usual, min(1.0, whole), whole, workers, here)


def _crowd(machine: Machine) -> float:
    return max(1.0, machine.workers / machine.cores)


def _round(machines: Sequence[Machine], up: float, down: float) -> tuple[float, float]:
    """Seconds of one round, on the links and of the parent; ``up`` and ``down`` are bytes of each child."""
    link = max(each.round_trip + (up + down) / each.bytes_per_second for each in machines)
    return link, len(machines) * (MESSAGE_S + PASS_S * (up + down))


def _weights(
    task: Task, costs: Costs, here: Machine, machines: Sequence[Machine], every: int, codec: Codec
) -> Forecast:
    """Each child plays a part of the trajectory and learns from it. A round comes after ``every`` trajectories."""
    name, size, whole = codec
    shared = _shared(task, costs, machines)
    link, parent = _round(machines, size * task.weights, size * task.weights)
    work = shared.playing + shared.learning
    seconds = max(work * shared.slowest + (link + parent) / every, (shared.here * work + parent / every) / here.cores)
    counts = whole * kept(lost_between_rounds(every * shared.updates), shared.workers) * shared.updates / task.updates
    made = shared.made * counts / seconds
    return Forecast("weights", shared.rows, shared.length, {"codec": name}, every, counts, made, batch=shared.batch)


def _gradients(
    task: Task, costs: Costs, here: Machine, machines: Sequence[Machine], form: str, codec: Codec
) -> Forecast:
    """The same, with a round for each update; where it is late by one, the next gradient is computed meanwhile."""
    name, size, whole = codec
    shared = _shared(task, costs, machines)
    link, parent = _round(machines, size * task.weights, size * task.weights)
    trip, turn = _round(machines, 0, 0)
    lost, slow = lost_between_rounds(1), shared.slowest
    if form == "asynchronous":
        lost, slow = LOST_BY_ARRIVAL, shared.usual
    playing, learning = shared.playing * slow, shared.learning * slow
    rounds = learning + shared.updates * link
    if form == "delayed":
        lost, rounds = LOST_BY_LAG, max(learning, shared.updates * link)
    short_rounds = task.short_rounds + task.updates - shared.updates
    parent = shared.updates * parent + short_rounds * turn
    busy = shared.here * (shared.playing + shared.learning) + parent
    seconds = max(playing + rounds + short_rounds * trip + parent, busy / here.cores)
    counts = whole * kept(lost, shared.workers) * shared.updates / task.updates
    settings = {"form": form, "codec": name}
    made = shared.made * counts / seconds
    return Forecast("gradients", shared.rows, shared.length, settings, 0, counts, made, batch=shared.batch)


def _experience(
    task: Task, costs: Costs, here: Machine, machines: Sequence[Machine], longer: int, rounds: int
) -> Forecast:
    """Actors play while the learner learns from what they have played before; this number of ``rounds`` is under way.
    With two, all wait for the slowest; with more, a long way is hidden and weights are older. Where they would wait for
    the learner, they can play trajectories ``longer`` times as long: the same number of updates learns more.
    """
    shared = _shared(task._replace(rows=longer * task.rows), costs, machines)
    up = longer * task.length * task.rows * task.step_bytes / len(machines)
    link, parent = _round(machines, up, 4.0 * task.weights)
    learning = task.updates * costs.update.at(longer * task.minibatch)
    playing = shared.playing * (shared.slowest if rounds == 2 else shared.usual)
    one_of_many = (playing + link + parent + learning) / rounds
    busy = shared.here * shared.playing + parent + learning
    seconds = max(playing, parent, learning, one_of_many, busy / here.cores)
    counts = kept(LOST_BY_LAG, shared.workers) * kept(LOST_BY_LENGTH, longer) * kept(LOST_BY_ROUND, rounds - 1)
    made = longer * shared.made * counts / seconds
    return Forecast("experience", shared.rows, shared.length, {}, 0, counts, made, longer, rounds, float(longer))
