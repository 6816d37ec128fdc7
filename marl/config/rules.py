"""Settings that can never work, or not together: each refused in one line, before any process starts."""

import math

import msgspec

from marl.algorithms.base import demand_off_policy, demand_recurrent, demand_stateless, schedules
from marl.config.ranges import demand_ranges
from marl.config.settings import Config, to_tree
from marl.errors import ConfigError
from marl.exchanges.part import demand
from marl.exchanges.run import replay_ratio
from marl.networks.cores import CORES
from marl.networks.distributions import POLICIES
from marl.networks.encoders.make_encoder import ENCODERS
from marl.networks.encoders.precision import PRECISIONS
from marl.networks.measured.gaussian import MAX_LOG_STD, MIN_LOG_STD
from marl.reports.sinks.make_sinks import demand_names
from marl.training.optimizers import OPTIMIZERS
from marl.training.schedule_length import schedule_length
from marl.wire.header import MAX_HEADER_BYTES


def validate(config: Config) -> None:
    """Refuse values that can never work, before any process starts.

    Raises:
        ConfigError: there is one.
    """
    algorithm, environment, stop = config.algorithm, config.environment, config.stop
    demand(environment.per_worker >= 1, "environment.per_worker", "at least 1", environment.per_worker)
    algorithm.validate()
    for key, name in (("network.name", config.network.name), ("exploration.sampler", config.exploration.sampler)):
        demand(not name or ":" in name, key, "your own package.module:Class", name)
    _validate_network(config)
    _validate_replay(config)
    if config.exploration.sampler:  # what acts is no longer what learns
        demand_off_policy(algorithm, "exploration.sampler", "leave it out")
    optimizer = config.optimizer.name
    demand(optimizer in OPTIMIZERS, "optimizer.name", f"one of {', '.join(OPTIMIZERS)}", optimizer)
    demand(0 <= config.node.workers <= 1024, "node.workers", "0 (all cores) to 1024", config.node.workers)
    demand(config.seed is None or config.seed >= 0, "seed", "0 or more", config.seed)
    for name in ("steps", "minutes", "episodes"):
        value = getattr(stop, name)
        demand(value is None or value > 0, f"stop.{name}", "more than 0", value)
    for name, shape in schedules(algorithm).items():
        if shape not in ("constant", "auto") and not any(schedule_length(algorithm, stop)):
            raise ConfigError(
                f"algorithm.{name} = {shape!r} needs algorithm.schedule_steps, stop.steps or stop.minutes"
            )
    if not stop.solved and stop.steps is stop.minutes is stop.episodes is None:
        raise ConfigError("stop.solved = false needs stop.steps, stop.minutes or stop.episodes")
    for name in ("episodes", "final_episodes"):
        count = getattr(config.evaluation, name)
        demand(count >= 0, f"evaluation.{name}", "0 or more", count)
    config.exchange.validate()
    config.exchange.rules(config)
    demand_names(config.report.sinks)
    if config.deterministic and config.node.workers > 1:
        raise ConfigError(f"deterministic = true allows one worker, got node.workers = {config.node.workers}")
    if config.deterministic and stop.minutes is not None:
        raise ConfigError("deterministic = true cannot stop by minutes: no two runs are equally fast; use stop.steps")
    if config.deterministic and algorithm.schedule_minutes:
        raise ConfigError(
            "deterministic = true cannot follow a schedule by minutes: no two runs are equally fast; "
            "use algorithm.schedule_steps"
        )
    demand_ranges(config)


def _validate_network(config: Config) -> None:
    network = config.network
    parts = (
        ("encoder", network.encoder, ENCODERS),
        ("core", network.core, ("none", *CORES)),
        ("head", network.head, ("linear",)),
    )
    for key, name, known in parts:
        expected = f"{', '.join(map(repr, known))}, or your own package.module:Class"
        demand(name in (None, *known) or ":" in str(name), f"network.{key}", expected, name)
    if network.name and len(network.own) > 1:
        key = list(network.own)[1]
        raise ConfigError(f"{key}: network.name = {network.name!r} has parts of its own: leave one of both out")
    demand(network.policy in (None, *POLICIES), "network.policy", f"one of {', '.join(POLICIES)}", network.policy)
    demand(network.precision in PRECISIONS, "network.precision", f"one of {', '.join(PRECISIONS)}", network.precision)
    if network.policy and config.algorithm.from_transitions and ":" not in config.algorithm.name:
        raise ConfigError(
            f"network.policy = {network.policy!r}: {config.algorithm.name} has a policy of its own kind: leave it out, "
            "or use a3c, ppo or impala"
        )
    if network.policy in ("state_gaussian", "squashed"):
        demand(
            MIN_LOG_STD <= network.log_std <= MAX_LOG_STD, "network.log_std",
            f"{MIN_LOG_STD:g} to {MAX_LOG_STD:g} with network.policy = {network.policy!r}", network.log_std,
        )  # fmt: skip
    if not (network.remembers or network.name):
        demand_recurrent(config.algorithm, "this one", "add network.core=gru or lstm, or set it to 0")
    if network.remembers:
        demand_stateless(config.algorithm, f"network.core = {network.core!r}")


def _validate_replay(config: Config) -> None:
    algorithm, replay, ratio = config.algorithm, config.replay, replay_ratio(config)
    demand(0 <= ratio < math.inf, "replay.ratio", "0 or more, and finite", ratio)
    demand(replay.capacity >= 1, "replay.capacity", "at least 1", replay.capacity)
    demand(replay.start >= 0, "replay.start", "0 or more", replay.start)
    demand(replay.batch_size >= 1, "replay.batch_size", "at least 1", replay.batch_size)
    demand(replay.alpha >= 0, "replay.alpha", "0 or more", replay.alpha)
    demand(0 <= replay.beta <= 1, "replay.beta", "0 to 1", replay.beta)
    if algorithm.from_transitions:
        demand(
            not config.environment.normalize_rewards, "environment.normalize_rewards",
            f"false with {algorithm.name}, whose replay holds rewards for long (use environment.reward_scale)",
            config.environment.normalize_rewards,
        )  # fmt: skip
        for key in ("start", "batch_size"):
            most = f"at most replay.capacity ({replay.capacity:,})"
            demand(getattr(replay, key) <= replay.capacity, f"replay.{key}", most, getattr(replay, key))
    if not ratio and algorithm.from_transitions:
        raise ConfigError(
            f"replay.ratio: expected more than 0 with {algorithm.name}, which learns only from a replay, got 0"
        )
    if ratio:
        demand_off_policy(algorithm, f"replay.ratio = {ratio:g}", "use 0")


def demand_sendable(config: Config) -> None:
    """Refuse arguments of an environment that the parent's first message cannot hold.

    Raises:
        ConfigError: they are too long.
    """
    size = len(msgspec.json.encode(to_tree(config)["environment"]["kwargs"]))
    if size > MAX_HEADER_BYTES // 2:  # the other half is for everything else
        raise ConfigError(
            f"environment.kwargs: expected at most {MAX_HEADER_BYTES // 2048} KiB of arguments to send to children, "
            f"got {size / 1024:,.0f}: let the environment read them from a file that each child has"
        )


def demand_end(config: Config) -> None:
    """Refuse settings by which a run would never end.

    Raises:
        ConfigError: nothing says when to stop.
    """
    environment, stop = config.environment, config.stop
    if stop.solved and environment.solved_return is None and stop.steps is stop.minutes is stop.episodes is None:
        raise ConfigError(
            f"nothing says when to stop training {environment.id}: give --steps, --minutes or --episodes, "
            "or the return that counts as solved (--set environment.solved_return=...)"
        )
