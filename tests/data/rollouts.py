"""Serialised counting trajectories, and processes that hand them on until they are done or killed."""

import importlib
import os
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from marl import failpoints
from marl.data.layout import Layout, Leaf, Tree
from marl.data.node.send_queue import SendQueue
from marl.data.node.trajectory_queue import Published
from marl.data.replay.rollout import rollout_tree
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.training.arrivals import Arrivals
from tests.data.writers import ACTION, ENVIRONMENTS, LENGTH, OBSERVATION, PARAMETERS, trajectory

SIZE = LENGTH * ENVIRONMENTS


def layout_of(
    num_actions: int = 2**20, observation: Tree = OBSERVATION, action: Leaf = ACTION, state: Tree = ()
) -> Layout:
    """Of a serialised counting trajectory; ``num_actions``: 0 where actions are vectors."""
    categories = action.categories or ((num_actions,) if num_actions else ())
    return Layout(
        rollout_tree(
            length=LENGTH,
            environments=ENVIRONMENTS,
            observation=observation,
            action=action._replace(categories=categories),
            num_parameters=PARAMETERS,
            state=state,
        )
    )


def priorities_of(number: int) -> Tensor:
    """Of a counting trajectory, when its worker says any."""
    return torch.arange(number % (SIZE + 1)).float()


def puts(pipe: Connection, block: SharedBlock, worker: int, numbers: range, armed: str) -> None:
    """A worker that hands on all of them, unless a failpoint ends it."""
    os.environ[failpoints.VARIABLE] = armed  # a process that a forkserver starts has the environment of before
    importlib.reload(failpoints)
    send_queue = SendQueue(block, worker, layout_of())
    for number in numbers:
        send_queue.put(trajectory(number), priorities_of(number))
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
