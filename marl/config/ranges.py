"""Numbers that no setting can have, whatever the others say: too small, too large, or none at all."""

import dataclasses
import math

from marl.config.settings import Config
from marl.errors import ConfigError

MAX_LAYERS, MAX_WIDTH = 100, 1_000_000  # of ``network.hidden``
MAX_COUNT = 2**53  # beyond, floating-point numbers skip integers

# Lowest and highest value by the setting's path.
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "environment.per_worker": (1, 65_536),
    "environment.reward_clip": (0, 1e30),
    "environment.reward_scale": (-1e30, 1e30),
    "network.core_size": (1, 65_536),
    "network.log_std": (-20, 20),
    "exploration.novelty": (0, 1e6),
    "algorithm.t_max": (1, 1_000_000),
    "algorithm.schedule_steps": (0, MAX_COUNT),
    "algorithm.schedule_minutes": (0, 1e9),
    "algorithm.final_learning_rate": (0, 1e30),
    "optimizer.beta1": (0, 1),
    "optimizer.beta2": (0, 1),
    "optimizer.decay": (0, 1),
    "optimizer.momentum": (0, 1),
    "optimizer.epsilon": (0, 1e30),
    "evaluation.episodes": (0, 1_000_000),
    "evaluation.every_seconds": (0, math.inf),
    "checkpoint.every_seconds": (0, math.inf),
    "checkpoint.every_steps": (1, MAX_COUNT),
    "report.every_seconds": (0, math.inf),
    "node.max_restarts": (0, MAX_COUNT),
    "clock.link_delay_ms": (0, 1e9),
    "clock.link_mbit": (0, 1e12),
}


def demand_ranges(config: Config) -> None:
    """Refuse numbers that can never work.

    Raises:
        ConfigError: there is one.
    """
    for path, value in _numbers(config):
        if value != value:
            raise ConfigError(f"{path}: expected a number, got {value!r}")
        if isinstance(value, int) and abs(value) > MAX_COUNT and path not in _RANGES:
            raise ConfigError(f"{path}: expected at most {MAX_COUNT:,}, got more")
        low, high = _RANGES.get(path, (-math.inf, math.inf))
        if not low <= value <= high:
            raise ConfigError(f"{path}: expected {low:,} to {high:,}, got {value:,}")
    hidden = config.network.hidden
    if len(hidden) > MAX_LAYERS or not all(1 <= width <= MAX_WIDTH for width in hidden):
        raise ConfigError(
            f"network.hidden: expected at least 1 each, at most {MAX_WIDTH:,} each and {MAX_LAYERS} of them, "
            f"got {len(hidden):,}: {hidden!s:.60}"
        )
    if not config.environment.id.isprintable():
        raise ConfigError(f"environment.id: expected a name, got {config.environment.id!r:.80}")


def _numbers(config: Config) -> list[tuple[str, int | float]]:
    found = []
    for each in dataclasses.fields(Config):
        section = getattr(config, each.name)
        if dataclasses.is_dataclass(section):
            inner = [
                (f"{each.name}.{field.name}", getattr(section, field.name)) for field in dataclasses.fields(section)
            ]
        else:
            inner = [(each.name, section)]
        found += [(path, value) for path, value in inner if type(value) in (int, float)]
    return found
