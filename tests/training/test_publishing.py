"""What makes a version of a learner's weights, and in which order it is made."""

import pytest
import torch

from marl.data.node.memory import UPDATES, array, node_memory
from marl.data.node.trajectory_queue import Published, trajectory_queue_fields
from marl.data.shared import SharedBlock
from marl.training.flat import Flat
from marl.training.learned_weights import DeviceWeights, shared_weights
from marl.training.optimizers import OptimizerSettings
from marl.training.publishing import Publishing
from marl.training.schedule_length import ScheduleLength
from marl.training.worker_metrics import Telemetry
from tests.data.rollouts import layout_of

SIZE = 3


def block_of() -> SharedBlock:
    more = trajectory_queue_fields(layout_of(), 2, SIZE)
    return node_memory(num_weights=SIZE, num_parameters=SIZE, observation_size=1, workers=1, more=more)


def local() -> Flat:
    return Flat(torch.zeros(SIZE), torch.zeros(SIZE))


@pytest.mark.parametrize("make", [shared_weights, DeviceWeights])
def test_each_batch_that_led_to_an_update_makes_one_version_before_the_next_wait(make: type[DeviceWeights]) -> None:
    block, newest, seen = block_of(), torch.zeros(SIZE), list[int]()
    weights = make(local(), block, OptimizerSettings())

    def wait() -> bool:
        seen.append(Published(block).version())  # by the parent's threads, when the wait for a batch begins
        return True

    go_on = Publishing(block, weights, Telemetry(block, 0, ScheduleLength()), wait)
    for updates in (0, 1, 0, 3):  # of each batch
        weights.vector.add_(updates)
        array(block, "counters")[0, UPDATES] += updates
        assert go_on()
        Published(block).read(newest)
        assert torch.equal(newest, weights.vector)  # saved before it was published
    assert seen == [0, 1, 1, 2]
    assert int(block["version"]) == 2


def test_the_updates_of_a_learner_that_died_make_no_version() -> None:
    block = block_of()
    array(block, "counters")[0, UPDATES] = 7
    weights = shared_weights(local(), block, OptimizerSettings())
    assert Publishing(block, weights, Telemetry(block, 0, ScheduleLength()), lambda: True)()
    assert int(block["version"]) == 0


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_wait_decides_whether_the_learner_goes_on(goes_on: bool) -> None:
    block = block_of()
    weights = shared_weights(local(), block, OptimizerSettings())
    assert Publishing(block, weights, Telemetry(block, 0, ScheduleLength()), lambda: goes_on)() is goes_on
