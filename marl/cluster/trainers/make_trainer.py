"""Makes the trainer of a run. It depends on who plays the steps and on who learns from them."""

from collections.abc import Callable
from typing import Any

from marl.cluster.fleets.fleet import Fleet
from marl.cluster.statistics import statistics_from, statistics_size
from marl.cluster.trainers.trainer import Given, Trainer
from marl.cluster.trainers.workers import Workers
from marl.data.normalizer import RunningStatistics
from marl.exchanges.base import ParentFacts
from marl.exchanges.virtual_time import RoundTimer, VirtualClock, VirtualLink
from marl.training.flat import num_parameters

PARENT = "parent"  # its name in messages


def make_trainer(given: Given, fleet: Fleet | None, *, wait_s: float, sample: RunningStatistics | None) -> Trainer:
    """The trainer for this machine, or for the children that a ``fleet`` brings; see ``on_children``."""
    return on_this_machine(given) if fleet is None else on_children(given, fleet, wait_s=wait_s, sample=sample)


def on_this_machine(given: Given) -> Trainer:
    """Workers that play and learn, or actors that play for a learner."""
    if not given.config.exchange.learner:
        return Workers(given)
    from marl.cluster.trainers.actors import Actors
    from marl.cluster.trainers.learning import Learning, make_learner

    learner = make_learner(given, children=1)
    side = learner.parent_side(children=1, **_facts(given))
    return Learning(given, learner, side, Actors(given, side))


def on_children(given: Given, fleet: Fleet, *, wait_s: float, sample: RunningStatistics | None) -> Trainer:
    """Children that play and learn, or that play for a learner of this machine.

    Args:
        wait_s: seconds for the first child.
        sample: statistics of observations made on this machine, to check those of the children.
    """
    # Only here: a run on this machine alone need not wait for TLS and sockets to be imported.
    from marl.cluster.trainers.child_metrics import ChildrenMetrics
    from marl.cluster.trainers.children import Children
    from marl.cluster.trainers.learning import Learning, make_learner
    from marl.cluster.trainers.measures import find_reach, seen_beside
    from marl.cluster.trainers.merging import Merging

    config, info = given.config, given.info
    endpoints = fleet.open(config.node.workers, given.events.note)
    metrics = ChildrenMetrics(info.get("told"))
    facts = _facts(given) | {"children": len(endpoints), "sample": sample, "hear": metrics.hear}
    if config.exchange.learner:
        learner = make_learner(given, children=len(endpoints))
        timer = _timer(given, learner.busy_seconds)
        arrives = learner.parent_side(timer=timer, **facts)
        children = Children(given, arrives, metrics, fleet, endpoints, wait_s=wait_s)
        if timer is not None:
            timer.traffic = children.traffic
        return Learning(given, learner, arrives, children, timer)
    timer = _timer(given)
    side = config.exchange.parent(
        ParentFacts(
            config,
            given.spaces,
            given.weights,
            num_parameters(given.network),
            reach=find_reach(config, given.network),
            timer=timer,
            seen_beside=seen_beside(config),
            version=int(info.get("version", 0)),
            interval=config.checkpoint.every_steps,
            last_step=config.stop.steps,
            **facts,
        )
    )
    if given.resumed is not None:
        side.restore(given.resumed.tensors, info.get("merged", {}), info.get("limits", {}))
    children = Children(given, side, metrics, fleet, endpoints, wait_s=wait_s)
    if timer is not None:
        timer.traffic = children.traffic
    return Merging(given, side, children, timer)


def _timer(given: Given, learner_s: Callable[[], float] = lambda: 0.0) -> RoundTimer | None:
    """What counts virtual time, where the run is to have it.

    Args:
        learner_s: seconds that this machine's learner has learned for so far.
    """
    clock = given.config.clock
    if not clock.virtual:
        return None
    link = VirtualLink(*clock.link())
    return RoundTimer(VirtualClock(link, seconds=given.virtual_before), learner=learner_s)


def _facts(given: Given) -> dict[str, Any]:
    """The ``ParentFacts`` of every trainer."""
    config, start = given.config, given.resumed or given.initial
    return {
        "name": PARENT,
        "observation_size": statistics_size(config, given.spaces),
        "statistics": None if start is None else statistics_from(config, start.tensors),
        "term": given.term,
        "steps": int(given.info.get("steps", 0)),
        "note": given.events.note,
    }
