"""What a worker learns from: the trajectory that it has just played, or samples of the replay."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Loss, Moment
from marl.data.layout import on_device
from marl.data.node.send_queue import SendQueue
from marl.data.replay.priorities import Priorities, importance_weights
from marl.data.replay.trajectory_replay import TrajectoryReplay
from marl.data.replay.transitions import Rows, Sampled, TransitionReplay
from marl.data.settings import ReplaySettings
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory

CPU = torch.device("cpu")


class MinibatchSource(Protocol):
    """Gives the batches to learn from, and receives their losses."""

    def batches(self, trajectory: Trajectory, moment: Moment) -> Iterator[Any]:
        """The batches to learn from before the next trajectory is played; ``learned`` is called after each batch."""

    def learned(self, loss: Loss) -> None:
        """Training has used the last batch."""


class Fresh:
    """Trains on each trajectory once, when it comes."""

    def __init__(self, algorithm: Algorithm, network: nn.Module) -> None:
        self._algorithm, self._network = algorithm, network

    def batches(self, trajectory: Trajectory, moment: Moment) -> Iterator[Any]:
        """See ``MinibatchSource``."""
        return self._algorithm.minibatches(self._network, trajectory, moment)

    def learned(self, loss: Loss) -> None:
        """Nothing to do."""


class ReplayRatioLimiter:
    """How many samples are due, so that training uses every step ``ratio`` times on average."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self.due = 0.0  # steps that samples have yet to have

    def played(self, steps: float) -> None:
        """Count ``steps`` more steps that were played."""
        self.due += self._ratio * steps

    def forgive(self) -> None:
        """Forget the samples that are due."""
        self.due = 0.0

    def pay(self, steps: float) -> bool:
        """Whether a sample of ``steps`` steps is due; if so, it is counted as made."""
        if self.due < steps:
            return False
        self.due -= steps
        return True


class ReplayedTrajectories:
    """Stores each trajectory, then trains on ``ratio`` trajectories on average, sampled from the replay."""

    def __init__(
        self,
        algorithm: Algorithm,
        network: nn.Module,
        block: SharedBlock,
        worker: int,
        *,
        ratio: float,
        rng: np.random.Generator,
        device: torch.device = CPU,
    ) -> None:
        """``device``: of the network; the replay lies in the machine's memory."""
        self._algorithm, self._network, self._rng, self._device = algorithm, network, rng, device
        self._replay = TrajectoryReplay(block, worker)
        self._limiter = ReplayRatioLimiter(ratio)

    def batches(self, trajectory: Trajectory, moment: Moment) -> Iterator[Any]:
        """See ``MinibatchSource``."""
        self._replay.write(trajectory)
        self._limiter.played(1)
        while self._limiter.pay(1):
            sampled = self._replay.sample(self._rng)
            if sampled is None:
                return
            yield from self._algorithm.minibatches(self._network, on_device(sampled, self._device), moment)

    def learned(self, loss: Loss) -> None:
        """Nothing to do: trajectories have no priorities."""


class ReplayedTransitions:
    """Save the trajectory's transitions, or its sequences, then learn from batches drawn by priority."""

    def __init__(
        self,
        algorithm: Algorithm,
        network: nn.Module,
        block: SharedBlock,
        worker: int | None,
        settings: ReplaySettings,
        *,
        ratio: float,
        rng: np.random.Generator,
        priorities: Callable[[], Tensor] | None = None,
        device: torch.device = CPU,
    ) -> None:
        """
        Args:
            priorities: returns those that the actor has computed for the next trajectory; None: compute them here.
            device: of the network; the replay lies in the machine's memory.
        """
        self._algorithm, self._network, self._settings, self._rng = algorithm, network, settings, rng
        self._device = device
        self._from_actor = priorities
        self._replay = TransitionReplay(block, worker)
        self._steps_of_row = algorithm.t_max if self._replay.of_sequences else 1
        self._size = -(-settings.batch_size // self._steps_of_row)  # rows of a sample
        self.sample_steps = self._size * self._steps_of_row
        self._priorities = Priorities(block, settings.alpha)
        self.limiter = ReplayRatioLimiter(ratio)
        self._generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        self._drawn: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None  # indices; which are complete

    def batches(self, trajectory: Trajectory, moment: Moment) -> Iterator[Any]:
        """See ``MinibatchSource``."""
        self.store(trajectory)
        return self.samples()

    def store(self, trajectory: Trajectory) -> None:
        """Put its transitions, or its sequences, into the replay."""
        moved = self._algorithm.transitions(self._network, on_device(trajectory, self._device))
        transitions, priorities = (on_device(each, CPU) for each in moved)
        given = priorities if self._from_actor is None else self._from_actor()
        if len(given) == len(priorities):  # else the actor's include steps that were left out later
            priorities = given
        self.keep(transitions, priorities)

    def keep(self, rows: Rows, priorities: Tensor) -> None:
        """Put them into the replay."""
        if not len(rows.versions):
            return
        self._priorities.set(self._replay.add(rows), priorities.double().numpy())
        self.limiter.played(len(rows.versions) * self._steps_of_row)

    def has_begun(self) -> bool:
        """Whether there is enough to draw samples from."""
        return len(self._replay) >= max(self._settings.start / self._steps_of_row, self._size)

    def samples(self) -> Iterator[Sampled]:
        """The batches that are due."""
        if not self.has_begun():
            self.limiter.forgive()
            return
        while self.limiter.pay(self.sample_steps):
            sampled = self.draw()
            if sampled is None:
                return
            yield sampled

    def draw(self) -> Sampled | None:
        """One batch: of sequences, as many as have ``batch_size`` steps or more. None if no row has a priority."""
        found = self._priorities.sample(self._size, self._rng)
        if found is None:
            return None
        indices, probabilities = found
        transitions, whole = self._replay.gather(indices)
        weights, largest = importance_weights(probabilities, len(self._replay), self._settings.beta)
        self._drawn = indices, whole.numpy()
        counts = on_device(torch.from_numpy(weights).float() * whole, self._device)
        return Sampled(on_device(transitions, self._device), counts, self._generator, largest)

    def learned(self, loss: Loss) -> None:
        """Store the new priorities of the last batch's rows."""
        if loss.priorities is None or self._drawn is None:
            return
        indices, whole = self._drawn
        self._priorities.set(indices[whole], loss.priorities.cpu().double().numpy()[whole])


class HandedOn:
    """Gives each trajectory to a learner elsewhere; this worker does not learn."""

    def __init__(self, algorithm: Algorithm, network: nn.Module, send_queue: SendQueue) -> None:
        self._algorithm, self._network, self._send_queue = algorithm, network, send_queue

    def batches(self, trajectory: Trajectory, unused_moment: Moment) -> Iterator[Any]:
        """Hand the trajectory over, with its priorities where they matter."""
        priorities = None
        if self._algorithm.from_transitions:
            _, priorities = self._algorithm.transitions(self._network, trajectory)
        self._send_queue.put(trajectory, priorities)
        return iter(())

    def learned(self, loss: Loss) -> None:
        """Never called: there are no batches."""
