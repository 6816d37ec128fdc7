"""Counting trajectories as parcels, and processes that hand them on until they are done or killed."""

import importlib
import os
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from marl import failpoints
from marl.data.parcel import Layout, parcel_layout
from marl.data.shared import Field, SharedBlock
from marl.data.trajectory import Trajectory
from marl.training.inbox import Arrivals, Published
from marl.training.outbox import Outbox
from tests.data.writers import ACTION, ENVIRONMENTS, LENGTH, OBSERVATION, PARAMETERS, trajectory

SIZE = LENGTH * ENVIRONMENTS


def layout_of(num_actions: int = 2**20, observation: Field = OBSERVATION, action: Field = ACTION) -> Layout:
    """Where a counting trajectory lies in a parcel."""
    return parcel_layout(
        length=LENGTH,
        environments=ENVIRONMENTS,
        observation=observation,
        action=action,
        num_actions=num_actions,
        num_parameters=PARAMETERS,
    )


def priorities_of(number: int) -> Tensor:
    """Of a counting trajectory, when its worker says any."""
    return torch.arange(number % (SIZE + 1)).float()


def puts(pipe: Connection, block: SharedBlock, worker: int, numbers: range, armed: str) -> None:
    """A worker that hands on all of them, unless a failpoint ends it."""
    os.environ[failpoints.VARIABLE] = armed  # a process that a forkserver starts has the environment of before
    importlib.reload(failpoints)
    outbox = Outbox(block, worker, layout_of())
    for number in numbers:
        outbox.put(trajectory(number), priorities_of(number))
    pipe.send("done")


def learns(pipe: Connection, block: SharedBlock, batch: int, max_staleness: int, armed: str) -> None:
    """A learner that says which trajectories came in each batch, until told to stop; each batch makes a version."""
    os.environ[failpoints.VARIABLE] = armed
    importlib.reload(failpoints)
    arrivals = Arrivals(block, layout_of(), batch=batch, max_staleness=max_staleness, device=torch.device("cpu"))
    while arrivals.wait():
        came, _ = arrivals.collect(None, int(block["version"][0]))  # type: ignore[arg-type]
        pipe.send(numbers_in(came))


def numbers_in(joined: Trajectory) -> list[int]:
    """Which counting trajectories lie side by side."""
    return [int(value) // 8 for value in joined.observations[0, ::ENVIRONMENTS, 0].tolist()]


def publishes(pipe: Connection, block: SharedBlock) -> None:
    """Weights that are all as large as their version, until told to stop; says how many in the end."""
    published, version = Published(block), 0
    weights = torch.zeros_like(block["published"][0])
    while not block["stop"][0]:
        version += 1
        for _ in range(20):  # to learn takes longer than to copy
            weights.fill_(version)
        published.publish(weights, version)
    pipe.send(version)
