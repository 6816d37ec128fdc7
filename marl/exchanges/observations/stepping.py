"""The work of a worker if the parent chooses the actions: it only steps environments."""

import time
from collections.abc import Callable

from marl.acting.stepper import Stepper
from marl.data.node.memory import array
from marl.data.requests import GROUPS, RequestLayout
from marl.data.spaces import Spaces
from marl.exchanges.base import Worker
from marl.processes.heap import tidily
from marl.training.schedule_length import ScheduleLength
from marl.training.worker_metrics import Telemetry


def step(worker: Worker, layout: Callable[[Spaces], RequestLayout]) -> None:
    """Step environments until told to stop."""
    count = worker.run.environment.per_worker // GROUPS
    groups = [worker.environments(count) for unused in range(GROUPS)]
    all_seeds = worker.seeds(GROUPS * count)
    own = [all_seeds[group * count : (group + 1) * count] for group in range(GROUPS)]
    stepper = Stepper(groups, worker.block, worker.number, layout(groups[0].spaces), own)
    telemetry = Telemetry(worker.block, worker.number, ScheduleLength(), alone=False)
    stop = array(worker.block, "stop")
    go_on = tidily(lambda: not stop[0])
    before = time.perf_counter()
    while (episodes := stepper.step(go_on)) is not None:
        now = time.perf_counter()
        telemetry.played(episodes, now - before, 0.0)
        before = now
