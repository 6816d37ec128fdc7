"""Settings that are not the defaults, and how they are refused."""

from pathlib import Path
from typing import Any

import pytest

from marl.config.files import load_config
from marl.config.settings import Config
from marl.errors import ConfigError

# For every setting a value that is not its default.
OTHER: dict[str, Any] = {
    "seed": 7,
    "deterministic": True,
    "environment.id": "my.module:Ünusual-v0",
    "environment.ignore": ["mission"],
    "environment.kwargs": {"gravity": -9.81, "names": ["a", 'b"\\\n'], "inner": {"on": True}, "odd key": 1e-7},
    "environment.per_worker": 3,
    "environment.backend": "envpool",
    "environment.normalize_observations": True,
    "environment.normalize_rewards": True,
    "environment.mask": "info",
    "environment.reward_clip": 1.0,
    "environment.life_ends": True,
    "environment.reward_scale": 0.1,
    "environment.solved_return": 1e22,
    "network.name": "my.module:Network",
    "network.hidden": [1, 2, 3],
    "network.activation": "relu",
    "network.layer_norm": True,
    "network.encoder": "mlp",
    "network.core": "none",
    "network.core_size": 32,
    "network.head": "linear",
    "network.precision": "auto",
    "network.shared_trunk": True,
    "network.policy": "squashed",
    "network.log_std": -0.5,
    "exploration.sampler": "my.module:Sampler",
    "exploration.novelty": 0.5,
    "algorithm.name": "ppo",
    "algorithm.t_max": 9,
    "algorithm.discount": 0.5,
    "algorithm.gae_lambda": 0.25,
    "algorithm.value_cost": 0.125,
    "algorithm.entropy_cost": 1e-05,
    "algorithm.entropy_spread": 2.0,
    "algorithm.learning_rate": 3e-4,
    "algorithm.final_learning_rate": 1e-6,
    "algorithm.schedule": "linear",
    "algorithm.schedule_steps": 10,
    "algorithm.schedule_minutes": 2.5,
    "algorithm.max_gradient_norm": 40.0,
    "algorithm.normalize_advantages": False,
    "algorithm.epochs": 2,
    "algorithm.num_minibatches": 3,
    "algorithm.sequence": 24,
    "algorithm.clip": 0.125,
    "algorithm.clip_schedule": "linear",
    "algorithm.entropy_schedule": "cosine",
    "algorithm.target": "vtrace",
    "algorithm.upgo_cost": 0.75,
    "algorithm.value_clip": 0.5,
    "algorithm.kl_stop": 0.0625,
    "optimizer.name": "rmsprop",
    "optimizer.beta1": 0.5,
    "optimizer.beta2": 0.25,
    "optimizer.decay": 0.75,
    "optimizer.momentum": 0.5,
    "optimizer.epsilon": 0.1,
    "replay.ratio": 0.5,
    "replay.capacity": 5_000,
    "replay.start": 10,
    "replay.batch_size": 64,
    "replay.alpha": 0.5,
    "replay.beta": 0.5,
    "exchange.name": "pairwise",
    "exchange.every": "1 episode",
    "exchange.barrier": True,
    "exchange.codec": "int8",
    "exchange.parts": 4,
    "exchange.outer_lr": 0.7,
    "exchange.outer_momentum": 0.9,
    "exchange.outer_optimizer": "adam",
    "exchange.outer_beta1": 0.5,
    "exchange.outer_beta2": 0.75,
    "exchange.outer_epsilon": 1e-4,
    "exchange.moments": "second",
    "exchange.form": "delayed",
    "exchange.alpha": 0.25,
    "exchange.beta": 0.75,
    "exchange.aggregate": "median",
    "exchange.clip": 3.0,
    "exchange.queue": 8,
    "exchange.batch": 2,
    "exchange.max_staleness": 5,
    "exchange.device": "cpu",
    "exchange.zstd": True,
    "exchange.inference_batch": 16,
    "exchange.inference_wait_us": 10.0,
    "node.workers": 1,
    "node.max_restarts": 3,
    "clock.virtual": True,
    "clock.link_delay_ms": 0.5,
    "clock.link_mbit": 20.0,
    "stop.solved": False,
    "stop.steps": 1_000_000,
    "stop.minutes": 1.5,
    "stop.episodes": 3,
    "evaluation.episodes": 7,
    "evaluation.every_seconds": 1.5,
    "evaluation.final_episodes": 9,
    "evaluation.greedy": False,
    "checkpoint.every_seconds": 1.5,
    "checkpoint.every_steps": 77,
    "report.runs": "C:\\runs",
    "report.every_seconds": 0.25,
    "report.sinks": ["metrics", "mine:Sink"],
    "report.tensorboard": False,
    "report.pictures": False,
}


def value_of(config: Config, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return list(found) if isinstance(found, tuple) else found


def refused(source: str | Path | None = None, **overrides: Any) -> str:
    """The one line by which settings are refused; __ stands for a dot."""
    with pytest.raises(ConfigError) as caught:
        load_config(source, {key.replace("__", "."): value for key, value in overrides.items()})
    assert "\n" not in str(caught.value)
    return str(caught.value)
