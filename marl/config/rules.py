"""Settings that can never work, or not together: each refused in one line, before any process starts."""

import math

import msgspec

from marl.averaging.robust import RULES
from marl.config.ranges import demand_ranges
from marl.config.settings import Config, replay_ratio, to_tree
from marl.errors import ConfigError
from marl.exchanges.settings import EXCHANGES, LEARNER_EXCHANGES
from marl.exchanges.triggers import parse_trigger
from marl.reports.sinks.choose import demand_names
from marl.training.optimizers import OPTIMIZERS
from marl.wire.codec import CODECS
from marl.wire.header import MAX_HEADER_BYTES


def validate(config: Config) -> None:
    """Refuse values that can never work, before any process starts.

    Raises:
        ConfigError: there is one.
    """
    algorithm, environment, stop = config.algorithm, config.environment, config.stop
    _demand(environment.per_worker >= 1, "environment.per_worker", "at least 1", environment.per_worker)
    algorithm.validate()
    for key, name in (("network.name", config.network.name), ("exploration.sampler", config.exploration.sampler)):
        _demand(not name or ":" in name, key, "your own package.module:Class", name)
    _validate_replay(config)
    if config.exploration.sampler:  # what acts is no longer what learns
        _demand_off_policy(config, "exploration.sampler", "leave it out")
    optimizer = config.optimizer.name
    _demand(optimizer in OPTIMIZERS, "optimizer.name", f"one of {', '.join(OPTIMIZERS)}", optimizer)
    _demand(0 <= config.node.workers <= 1024, "node.workers", "0 (all cores) to 1024", config.node.workers)
    _demand(config.seed is None or config.seed >= 0, "seed", "0 or more", config.seed)
    for name in ("steps", "minutes", "episodes"):
        value = getattr(stop, name)
        _demand(value is None or value > 0, f"stop.{name}", "more than 0", value)
    for name in ("schedule", "clip_schedule"):
        shape = getattr(algorithm, name, "constant")
        if shape != "constant" and not (algorithm.schedule_steps or stop.steps):
            raise ConfigError(f"algorithm.{name} = {shape!r} needs algorithm.schedule_steps or stop.steps")
    if not stop.solved and stop.steps is stop.minutes is stop.episodes is None:
        raise ConfigError("stop.solved = false needs stop.steps, stop.minutes or stop.episodes")
    for name in ("episodes", "final_episodes"):
        count = getattr(config.evaluation, name)
        _demand(count >= 0, f"evaluation.{name}", "0 or more", count)
    exchange = config.exchange
    parse_trigger(exchange.every)
    codecs = (*CODECS, "auto")
    _demand(exchange.codec in codecs, "exchange.codec", f"one of {', '.join(codecs)}", exchange.codec)
    _demand(exchange.name in EXCHANGES, "exchange.name", f"one of {', '.join(EXCHANGES)}", exchange.name)
    if exchange.name in LEARNER_EXCHANGES:
        _validate_experience(config)
    rules = ("mean", *RULES)
    _demand(exchange.aggregate in rules, "exchange.aggregate", f"one of {', '.join(rules)}", exchange.aggregate)
    if exchange.name != "weights":
        why = "each upload moves the weights by itself" if exchange.name == "pairwise" else "children upload no weights"
        expected = f"'mean' with exchange.name = {exchange.name!r}, where {why}"
        _demand(exchange.aggregate == "mean", "exchange.aggregate", expected, exchange.aggregate)
    for name in ("alpha", "beta"):
        _demand(0 < getattr(exchange, name) <= 1, f"exchange.{name}", "more than 0, at most 1", getattr(exchange, name))
    if exchange.name == "pairwise":
        _demand(not exchange.barrier, "exchange.barrier", "false with exchange.name = 'pairwise'", exchange.barrier)
        mixing = ("float32", "bfloat16", "float16")  # the others round changes, and here there are none
        _demand(exchange.codec in mixing, "exchange.codec", f"one of {', '.join(mixing)} with pairwise", exchange.codec)
    demand_names(config.report.sinks)
    _demand(exchange.outer_lr > 0, "exchange.outer_lr", "more than 0", exchange.outer_lr)
    _demand(0 <= exchange.outer_momentum < 1, "exchange.outer_momentum", "0 to below 1", exchange.outer_momentum)
    _demand(exchange.clip >= 1, "exchange.clip", "at least 1", exchange.clip)
    if config.deterministic and config.node.workers > 1:
        raise ConfigError(f"deterministic = true allows one worker, got node.workers = {config.node.workers}")
    if config.deterministic and stop.minutes is not None:
        raise ConfigError("deterministic = true cannot stop by minutes: no two runs are equally fast; use stop.steps")
    demand_ranges(config)


def _validate_experience(config: Config) -> None:
    exchange = config.exchange
    _demand(exchange.batch >= 1, "exchange.batch", "at least 1", exchange.batch)
    _demand(exchange.queue >= exchange.batch, "exchange.queue", "at least exchange.batch", exchange.queue)
    _demand(exchange.max_staleness >= 0, "exchange.max_staleness", "0 or more", exchange.max_staleness)
    environment = config.environment
    if exchange.name == "observations":
        _demand(
            environment.per_worker % 2 == 0, "environment.per_worker",
            "an even number with exchange.name = 'observations': two groups take turns", environment.per_worker,
        )  # fmt: skip
        _demand(
            not environment.normalize_rewards, "environment.normalize_rewards",
            "false with exchange.name = 'observations' (use environment.reward_scale)", environment.normalize_rewards,
        )  # fmt: skip
        _demand(exchange.inference_batch >= 1, "exchange.inference_batch", "at least 1", exchange.inference_batch)
        _demand(exchange.inference_wait_us >= 0, "exchange.inference_wait_us", "0 or more", exchange.inference_wait_us)
    if config.deterministic:
        raise ConfigError("deterministic = true needs exchange.name = 'weights': a queue's order depends on time")
    _demand_off_policy(config, f"exchange.name = {exchange.name!r}", "use 'weights'")
    if replay_ratio(config) and exchange.batch > 1:
        raise ConfigError(f"replay.ratio = {replay_ratio(config):g} needs exchange.batch = 1, got {exchange.batch}")


def _validate_replay(config: Config) -> None:
    replay, ratio = config.replay, replay_ratio(config)
    _demand(0 <= ratio < math.inf, "replay.ratio", "0 or more, and finite", ratio)
    _demand(replay.capacity >= 1, "replay.capacity", "at least 1", replay.capacity)
    _demand(replay.start >= 0, "replay.start", "0 or more", replay.start)
    _demand(replay.batch_size >= 1, "replay.batch_size", "at least 1", replay.batch_size)
    _demand(replay.alpha >= 0, "replay.alpha", "0 or more", replay.alpha)
    _demand(0 <= replay.beta <= 1, "replay.beta", "0 to 1", replay.beta)
    name = config.algorithm.name
    if config.algorithm.learns_from == "transitions":
        _demand(
            not config.environment.normalize_rewards, "environment.normalize_rewards",
            f"false with {name}, whose replay holds rewards for long (use environment.reward_scale)",
            config.environment.normalize_rewards,
        )  # fmt: skip
        for key in ("start", "batch_size"):
            most = f"at most replay.capacity ({replay.capacity:,})"
            _demand(getattr(replay, key) <= replay.capacity, f"replay.{key}", most, getattr(replay, key))
    if not ratio and config.algorithm.learns_from == "transitions":
        raise ConfigError(f"replay.ratio: expected more than 0 with {name}, which learns only from a replay, got 0")
    if ratio and config.deterministic:
        raise ConfigError(f"deterministic = true needs replay.ratio = 0, got {ratio:g}: a replay is not saved")
    if ratio:
        _demand_off_policy(config, f"replay.ratio = {ratio:g}", "use 0")


def _demand_off_policy(config: Config, setting: str, remedy: str) -> None:
    """Refuse a setting by which other weights act than those that learn, where an algorithm cannot bear that."""
    if config.algorithm.learns_from == "trajectories":
        try:
            config.algorithm.off_policy()
        except ConfigError as error:
            raise ConfigError(f"{setting}: {error}: {remedy}, or another algorithm") from error


def demand_same_bits(config: Config) -> None:
    """Refuse settings by which a deterministic run on children would depend on time.

    Raises:
        ConfigError: there is one.
    """
    exchange = config.exchange
    if parse_trigger(exchange.every).unit != "step":
        raise ConfigError(
            f"deterministic = true needs exchange.every in steps, such as '20000 steps', got {exchange.every!r}: "
            "seconds and episodes end at another step each time"
        )
    _demand(exchange.name == "weights", "exchange.name", "'weights' with deterministic = true", exchange.name)
    _demand(exchange.codec != "auto", "exchange.codec", "a fixed one with deterministic = true", exchange.codec)


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


def _demand(holds: bool, key: str, expected: str, got: object) -> None:
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, got {got!r}")
