"""Where learned weights live: both places learn the same, and a device gives its weights away once a version."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from marl.algorithms.impala import IMPALA
from marl.data.layout import on_device
from marl.data.node.memory import node_memory
from marl.data.shared import SharedBlock
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from marl.training.hogwild import LearnedWeights
from marl.training.learned_weights import STATE_EVERY_S, DeviceWeights, SharedWeights, own_device
from marl.training.optimizers import OptimizerSettings, make_optimizer
from tests.algorithms.cases import DISCRETE, random_batch
from tests.devices import META

SMALL = NetworkSettings(hidden=(8,))
ALGORITHM = IMPALA()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Transfers(TorchDispatchMode):
    """Counts the numbers that are copied from one set of storages to another: what a bus would carry."""

    def __init__(self, device: list[Tensor], host: list[Tensor]) -> None:
        super().__init__()
        self._device, self._host = ({each.untyped_storage().data_ptr() for each in side} for side in (device, host))
        self.down: list[int] = []
        self.up: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.copy_.default:
            into, source = (each.untyped_storage().data_ptr() for each in args[:2])
            if into in self._host and source in self._device:
                self.down.append(args[1].numel())
            if into in self._device and source in self._host:
                self.up.append(args[1].numel())
        return func(*args, **(kwargs or {}))


def block_of(size: int) -> SharedBlock:
    return node_memory(num_weights=size, num_parameters=size, observation_size=4, workers=1)


def learn(weights: LearnedWeights, network: torch.nn.Module, updates: int) -> None:
    for number in range(updates):
        weights.fetch()
        batch = random_batch(DISCRETE, number)
        batch = batch._replace(behaviour=torch.zeros(7, 3, 3))
        assert weights.step(ALGORITHM.loss(network, batch), 0.01, 0.5) > 0


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_both_places_learn_the_same_to_the_bit(optimizer: str) -> None:
    settings, learned = OptimizerSettings(optimizer), []
    for on_own_device in (False, True):
        network = ALGORITHM.build_network(DISCRETE, SMALL, 0)
        local = flatten(network)
        block = block_of(len(local.weights))
        block["weights"].copy_(local.weights)
        weights: LearnedWeights
        if on_own_device:
            weights = DeviceWeights(local, block, settings)
        else:
            made = make_optimizer(settings, block["optimizer"], block["optimizer_steps"])
            weights = SharedWeights(local, block["weights"], made)
        learn(weights, network, 10)
        if isinstance(weights, DeviceWeights):
            assert not torch.equal(block["weights"], weights.vector)
            weights.save()
            weights.save_state()
        learned.append([block[name].clone() for name in ("weights", "optimizer", "optimizer_steps")])
    for shared, own in zip(*learned, strict=True):
        assert torch.equal(shared, own)


def test_a_device_gives_its_weights_away_once_a_version_and_its_state_rarely() -> None:
    network, clock = ALGORITHM.build_network(DISCRETE, SMALL, 0), Clock()
    local = flatten(network)
    block = block_of(len(local.weights))
    weights = DeviceWeights(local, block, OptimizerSettings(), clock)
    # The block's own tensors stand for the machine's memory, the other ones for a device's.
    weights._state, weights._count = weights._state.clone(), weights._count.clone()
    weights._optimizer = make_optimizer(OptimizerSettings(), weights._state, weights._count)
    device = [local.weights, local.gradient, weights._state, weights._count]
    with Transfers(device, [block[name] for name in ("weights", "optimizer", "optimizer_steps")]) as transfers:
        for _ in range(3):
            learn(weights, network, 4)
            weights.save()
        assert transfers.down == [len(local.weights)] * 3
        clock.now += STATE_EVERY_S
        weights.save()
        assert transfers.down[3:] == [len(local.weights), 2 * len(local.weights), 1]
        assert transfers.up == []
    assert torch.equal(block["optimizer"], weights._state)


def test_a_device_goes_on_from_what_was_saved() -> None:
    network = ALGORITHM.build_network(DISCRETE, SMALL, 0)
    local = flatten(network)
    block = block_of(len(local.weights))
    block["weights"].fill_(0.25)
    block["optimizer"].fill_(0.5)
    block["optimizer_steps"].fill_(7)
    weights = DeviceWeights(local, block, OptimizerSettings())
    assert bool((local.weights == 0.25).all())
    learn(weights, network, 1)
    weights.save_state()
    assert float(block["optimizer_steps"]) == 8
    assert 0 < float((block["optimizer"][0] - 0.5).abs().max()) < 0.2  # it decays from there


def test_what_is_on_its_device_is_not_copied() -> None:
    batch = random_batch(DISCRETE, 0)
    assert on_device(batch, torch.device("cpu")) is batch
    moved = on_device(batch, META)
    assert moved.rewards.device == META
    assert moved.version == batch.version


def test_a_name_is_a_device() -> None:
    assert own_device("cpu", replays=False) == torch.device("cpu")
    assert own_device("auto", replays=True) == torch.device("cpu")
    assert own_device("auto", replays=False).type == ("cuda" if torch.cuda.is_available() else "cpu")
