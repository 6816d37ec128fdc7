"""The weights that training updates: in memory that all workers share, or on the device of one learner."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from marl.algorithms.base import Loss
from marl.data.shared import SharedBlock
from marl.errors import ConfigError
from marl.training.flat import Flat
from marl.training.optimizers import Optimizer, OptimizerSettings, make_optimizer

STATE_EVERY_S = 10.0  # between two copies of a device's optimizer state, which is twice as large as the weights


class SharedWeights:
    """For Hogwild workers: the network has its own copy, updates move the shared vector. See ``LearnedWeights``."""

    def __init__(self, local: Flat, shared: Tensor, optimizer: Optimizer) -> None:
        self._local, self._optimizer = local, optimizer
        self.vector, self.num_parameters = shared, local.gradient.numel()

    def fetch(self) -> None:
        """Copy the shared weights into the network."""
        self._local.weights.copy_(self.vector)

    def step(self, loss: Loss, rate: float, max_norm: float) -> float:
        """See ``hogwild_step``."""
        return hogwild_step(self.vector, self._local, self._optimizer, loss, rate, max_norm)

    def save(self) -> None:
        """Nothing to do: updates move the weights and the optimizer's state where they are saved."""

    def save_state(self) -> None:
        """Nothing to do, see ``save``."""


def shared_weights(local: Flat, block: SharedBlock, settings: OptimizerSettings) -> SharedWeights:
    """The weights in a node's memory, moved by the optimizer whose state lies in the same memory."""
    return SharedWeights(
        local, block["weights"], make_optimizer(settings, block["optimizer"], block["optimizer_steps"])
    )


class DeviceWeights:
    """For one learner: weights, gradient and optimizer state stay on the device. See ``LearnedWeights``.

    The block of shared memory is used to save the run and to restart a learner that died. It gets the weights with
    each published version, in one copy off the device. It gets the optimizer's state every ``STATE_EVERY_S`` seconds.
    """

    def __init__(
        self,
        local: Flat,
        block: SharedBlock,
        settings: OptimizerSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with what the block holds; ``local`` says which device."""
        self._local, self._block, self._clock = local, block, clock
        self.vector, self.num_parameters = local.weights, local.gradient.numel()
        self.vector.copy_(block["weights"])
        self._state, self._count = (block[name].to(self.vector.device) for name in ("optimizer", "optimizer_steps"))
        self._optimizer = make_optimizer(settings, self._state, self._count)
        self._saved_at = clock()

    def fetch(self) -> None:
        """Nothing to do: updates move the network's own weights."""

    def step(self, loss: Loss, rate: float, max_norm: float) -> float:
        """See ``hogwild_step``."""
        return hogwild_step(self.vector, self._local, self._optimizer, loss, rate, max_norm)

    def save(self) -> None:
        """Copy the weights off the device, and the optimizer's state where that is due."""
        self._block["weights"].copy_(self.vector)
        if self._clock() >= self._saved_at + STATE_EVERY_S:
            self.save_state()

    def save_state(self) -> None:
        """Copy the optimizer's state off the device."""
        self._block["optimizer"].copy_(self._state)
        self._block["optimizer_steps"].copy_(self._count)
        self._saved_at = self._clock()


def hogwild_step(shared: Tensor, local: Flat, optimizer: Optimizer, loss: Loss, rate: float, max_norm: float) -> float:
    """Apply the local weights' clipped gradient to the shared weights, if it is finite. Returns its norm."""
    norm = clipped_gradient(local, loss, max_norm)
    if norm < float("inf"):  # False for NaN too
        optimizer.step(shared[: local.gradient.numel()], local.gradient, rate)  # not the buffers, which lie behind
    return norm


def clipped_gradient(local: Flat, loss: Loss, max_norm: float) -> float:
    """Compute the gradient of the local weights, and clip it if it is finite. Returns its norm before clipping."""
    norm = float(torch.linalg.vector_norm(gradient_of(local, loss)))
    if max_norm < norm < float("inf"):
        local.gradient.mul_(max_norm / norm)
    return norm


def gradient_of(local: Flat, loss: Loss) -> Tensor:
    """The gradient [P] of the local weights; the next one is computed in the same memory."""
    local.gradient.zero_()
    loss.backward()
    return local.gradient


def own_device(name: str, *, replays: bool) -> torch.device:
    """The device that a learner learns on.

    Args:
        name: as torch writes it, or "auto": the first CUDA device if there is one, else the CPU.
        replays: the learner samples from a replay, which lies in main memory; "auto" is then the CPU.

    Raises:
        ConfigError: this machine has no such device.
    """
    if name != "auto":
        device = torch.device(name)
        if device.type != "cpu":
            module = torch.get_device_module(device)
            count = module.device_count() if module.is_available() else 0
            if (device.index or 0) >= count:
                raise ConfigError(
                    f"exchange.device: expected a device of this machine, got {name!r}, and torch finds {count} of "
                    f"type {device.type}: write --set exchange.device=cpu"
                )
        return device
    return torch.device("cuda" if torch.cuda.is_available() and not replays else "cpu")
