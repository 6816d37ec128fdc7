"""Decides how children share one policy, where the user leaves that to this program."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from torch import nn

from marl.cluster.planning.costs import Costs, measure
from marl.cluster.planning.machines import Machine, Probed, machines_apart, machines_of, measure_children
from marl.cluster.planning.model import SHORTEST, Forecast, Reference, Task, forecasts, reference_of
from marl.config.rules import validate
from marl.config.settings import Config, from_tree, to_tree
from marl.data.layout import is_empty
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.networks.contract import Policy
from marl.processes.cores import count_cores
from marl.training.busy_time import OwnClock
from marl.training.flat import num_weights

MEASURE_S = 1.0
TRIED = ("weights", "gradients", "experience")
USUAL = ("exact", "float32")  # settings that need no word
NO_HELP = 1.05  # speed-ups below are said to be none
REPLAYED = "experience"  # of algorithms that learn from a replay: one learner has it


class Decision(NamedTuple):
    """The settings of the run, and what to say of them."""

    config: Config
    line: str
    reference: Reference | None = None  # what the speed-up is measured against; None: nothing could be measured


def decide(
    config: Config,
    spaces: Spaces,
    network: nn.Module,
    children: Sequence[Probed],
    wait_s: float,
    say: Callable[[str], None],
) -> Decision:
    """Measure this machine, the children and the links to them, for about two seconds, and choose.

    Args:
        wait_s: seconds for the first child.
        say: tells the user at once what there is to wait for.

    Raises:
        NoChildren: none was there in time.
        EnvironmentFault, MissingExtra: the environment fails.
    """
    if config.algorithm.from_transitions:
        return Decision(
            with_exchange(config, REPLAYED), f"exchange {REPLAYED}: {config.algorithm.name} learns from a replay"
        )
    speeds = measure_children(children, wait_s, say)
    if not speeds:
        return Decision(with_exchange(config, TRIED[0]), f"exchange {TRIED[0]}: no child could be measured in time")
    costs = measure(config, MEASURE_S, OwnClock().seconds if config.clock.virtual else time.perf_counter)
    task = task_of(config, spaces, network, costs)
    if config.clock.virtual:
        machines = machines_apart([each.workers for each in speeds], *config.clock.link())
        decision = choose(config, task, costs, machines, max(machines, key=lambda each: each.workers))
    else:
        decision = choose(config, task, costs, machines_of(speeds, costs.work_seconds))
    missing = ""
    if len(speeds) < len(children):
        missing = f"{len(children) - len(speeds)} of {len(children)} children could not be measured and are not counted"
    return decision._replace(line="; ".join(filter(None, (decision.line, costs.assumed, missing))))


def choose(
    config: Config, task: Task, costs: Costs, machines: Sequence[Machine], here: Machine | None = None
) -> Decision:
    """The way to share that should give most, as the model says; pure.

    Args:
        here: this machine, as it would train alone; None: with all its cores.
    """
    cores = count_cores()
    here = here or Machine(cores, cores)
    own, ways = _own_settings(config), forecasts(task, costs, here, machines)
    fitting = [each for each in ways if all(own.get(name, value) == value for name, value in each.settings.items())]
    best = (fitting or ways)[0]
    more: dict[str, object] = {**best.settings}
    if best.trajectories:  # of each worker of the child that has most
        steps = best.trajectories * best.rows * best.length * max(each.workers for each in machines)
        more["every"] = f"{steps} steps"
    whole = best.longer * task.rows * task.length
    parts = min(whole // (best.rows * best.length), sum(each.workers for each in machines))
    if best.exchange == REPLAYED and parts > 1:
        more |= _whole_batches(config, parts, best.under_way)
    more = {name: value for name, value in more.items() if name not in own}
    changed = with_exchange(config, best.exchange, rows=best.rows, length=best.length, rate=best.rate, **more)
    if best.exchange == REPLAYED:
        changed = dataclasses.replace(changed, algorithm=changed.algorithm.nearly_on_policy())
    reference = reference_of(task, costs, (here, *machines), best)
    return Decision(changed, _in_words(best, changed, costs, task, machines), reference)


def _own_settings(config: Config) -> dict[str, object]:
    """The settings of the exchange that the user has changed: they stay, but for the period, which presets set."""
    usual = dataclasses.asdict(type(config.exchange)())
    found = dataclasses.asdict(config.exchange).items()
    return {name: each for name, each in found if name != "every" and each != usual[name]}


def _whole_batches(config: Config, parts: int, rounds: int) -> dict[str, int]:
    """Let the learner join as many parts as make a whole trajectory: its minibatches stay as large as they were. All
    but one of the rounds under way can wait for it.
    """
    batch = parts * config.exchange.learner_plan().batch
    return {"batch": batch, "queue": (rounds - 1) * batch}


def task_of(config: Config, spaces: Spaces, network: nn.Module, costs: Costs) -> Task:
    """What a trajectory of these settings has to teach."""
    rows, algorithm = config.environment.per_worker, config.algorithm
    layout = config.exchange.layout(config, spaces, network)
    fewer = tuple(algorithm.batches_from(network, each + 1) for each in range(rows))
    updates, rounds = int(fewer[-1]) if math.isfinite(fewer[-1]) else costs.updates, algorithm.batches_per_trajectory()
    return Task(
        rows=rows,
        length=algorithm.t_max,
        updates=updates,
        minibatch=costs.minibatch * algorithm.t_max * costs.updates / updates,
        short_rounds=algorithm.sums_per_trajectory() + (int(rounds) - updates if math.isfinite(rounds) else 0),
        weights=num_weights(network),
        step_bytes=layout.num_bytes / (algorithm.t_max * rows),
        exchanges=tuple(name for name in TRIED if _goes(config, name)),
        fewer=fewer if math.isfinite(fewer[-1]) else (),
        shortest=SHORTEST if is_empty(cast(Policy, network).initial_state(1)) else algorithm.t_max,
    )


def _goes(config: Config, exchange: str) -> bool:
    try:
        found = with_exchange(
            config, exchange, every="1 steps", **_whole_batches(config, 2, 2)
        )  # a replay joins no parts
        if config.clock.virtual:
            found.exchange.demand_rounds()
    except ConfigError:
        return False
    return True


def with_exchange(
    config: Config,
    exchange: str,
    *,
    rows: int | None = None,
    length: int | None = None,
    rate: float = 1.0,
    **settings: object,
) -> Config:
    """The same settings with another exchange.

    Args:
        rows: environments of a worker; None: as many as there are.
        length: steps of a trajectory; None: as many as there are.
        rate: how many times as large the learning rate becomes.
        settings: of the exchange.

    Raises:
        ConfigError: they do not go with it.
    """
    tree: dict[str, Any] = to_tree(config)
    tree["exchange"] |= {"name": exchange, **settings}
    if rows is not None:
        tree["environment"]["per_worker"] = rows
    if length is not None:
        tree["algorithm"]["t_max"] = length
    if rate != 1.0:
        for name in ("learning_rate", "final_learning_rate"):
            tree["algorithm"][name] = float(f"{rate * tree['algorithm'][name]:.2g}")
    found = from_tree(tree)
    validate(found)
    return found


def _in_words(best: Forecast, changed: Config, costs: Costs, task: Task, machines: Sequence[Machine]) -> str:
    """One line."""
    playing = 1e3 * task.length * costs.step.at(task.rows)
    learning = 1e3 * task.updates * costs.update.at(task.minibatch)
    trip = 1e3 * max(each.round_trip for each in machines)
    rate = 8e-6 * min(each.bytes_per_second for each in machines)
    how = f", a round every {'trajectory' if best.trajectories == 1 else f'{best.trajectories} trajectories'}"
    how *= bool(best.trajectories)
    how += "".join(f", {value}" for value in best.settings.values() if value not in USUAL)
    shorter = f", {best.length} steps each" if best.length != task.length else ""
    larger = f", learning rate {changed.algorithm.learning_rate:g}" if best.rate != 1.0 else ""
    environments = "1 environment" if best.rows == 1 else f"{best.rows} environments"
    line = (
        f"exchange {best.exchange}{how}, {environments} a worker{shorter}{larger}: a trajectory takes one worker "
        f"{playing:.3g} ms to play and {learning:.3g} ms to learn from, links {trip:.3g} ms and {rate:,.0f} Mbit/s; "
    )
    if best.speedup < NO_HELP:
        return line + "more machines would not help here: train on the fastest alone"
    children = "1 child" if len(machines) == 1 else f"{len(machines)} children"
    return line + f"{children} should be {best.speedup:.1f} times as fast as the best machine alone"
