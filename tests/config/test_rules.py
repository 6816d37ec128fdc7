"""Settings that can never work, or not together."""

from typing import Any

import pytest

from marl.config.files import load_config
from marl.config.rules import demand_end
from marl.errors import ConfigError
from tests.config.cases import refused


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("environment.per_worker", 0),
        ("algorithm.t_max", 0),
        ("algorithm.discount", 1.01),
        ("algorithm.discount", -0.01),
        ("algorithm.gae_lambda", 2.0),
        ("algorithm.learning_rate", 0.0),
        ("algorithm.learning_rate", float("nan")),
        ("algorithm.max_gradient_norm", -1.0),
        ("algorithm.schedule", "square"),
        ("network.hidden", [64, 0]),
        ("node.workers", -1),
        ("node.workers", 5000),
        ("seed", -1),
        ("stop.steps", 0),
        ("stop.minutes", -1.0),
        ("stop.episodes", 0),
        ("evaluation.episodes", -1),
        ("evaluation.final_episodes", -1),
    ],
)
def test_values_that_can_never_work(key: str, value: Any) -> None:
    message = refused("CartPole-v1", **{key.replace(".", "__"): value})
    assert message.startswith(f"{key}: expected ")
    assert message.endswith(f", got {value!r}") or isinstance(value, list)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"stop.solved": False}, "stop.solved = false needs stop.steps, stop.minutes or stop.episodes"),
        ({"deterministic": True, "node.workers": 2}, "allows one worker, got node.workers = 2"),
        ({"deterministic": True, "stop.minutes": 1.0}, "cannot stop by minutes"),
        (
            {"network.policy": "normal"},
            "network.policy: expected one of gaussian, state_gaussian, squashed, beta, got 'normal'",
        ),
        (
            {"network.policy": "beta", "algorithm.name": "sac"},
            "network.policy = 'beta': sac has a policy of its own kind",
        ),
        (
            {"network.policy": "squashed", "network.log_std": -6.0},
            "network.log_std: expected -5 to 2 with network.policy = 'squashed', got -6",
        ),
        ({"algorithm.schedule": "linear"}, "needs algorithm.schedule_steps, stop.steps or stop.minutes"),
        (
            {"deterministic": True, "algorithm.schedule": "linear", "algorithm.schedule_minutes": 1.0},
            "cannot follow a schedule by minutes: no two runs are equally fast; use algorithm.schedule_steps",
        ),
        (
            {"algorithm.name": "ppo", "algorithm.clip_schedule": "linear", "stop.episodes": 9},
            "clip_schedule = 'linear' needs algorithm.schedule_steps, stop.steps or stop.minutes",
        ),
        (
            {"algorithm.name": "ppo", "algorithm.entropy_schedule": "cosine", "stop.episodes": 9},
            "entropy_schedule = 'cosine' needs algorithm.schedule_steps, stop.steps or stop.minutes",
        ),
        (
            {"algorithm.name": "apex_dqn", "replay.capacity": 900},
            r"replay.start: expected at most replay.capacity \(900",
        ),
        (
            {"algorithm.name": "apex_dqn", "replay.capacity": 2000, "replay.batch_size": 2001},
            "replay.batch_size: expected at most replay.capacity",
        ),
        (
            {"algorithm.name": "apex_dqn", "environment.normalize_rewards": True},
            "environment.normalize_rewards: expected false with apex_dqn",
        ),
        ({"algorithm.name": ["ppo"]}, "algorithm.name"),
        (
            {"exchange.name": "experience", "exchange.queue": 1, "exchange.batch": 2},
            "exchange.queue: expected at least",
        ),
        (
            {"exchange.name": "pairwise", "exchange.aggregate": "median"},
            "exchange.aggregate: expected 'mean' with exchange.name = 'pairwise', where each upload moves the weights",
        ),
        (
            {"exchange.name": "experience", "exchange.aggregate": "krum"},
            "exchange.aggregate: expected 'mean' with exchange.name = 'experience', where children upload no weights",
        ),
        (
            {"exchange.every": "0 updates"},
            "exchange.every: expected a whole number of updates, at least 1, got '0 updates'",
        ),
        (
            {"exchange.every": "16 minutes"},
            "exchange.every: expected '5 seconds', '20000 steps', '1 episode' or '16 updates', got '16 minutes'",
        ),
        (
            {"algorithm.name": "tests.fake_algorithms:Unknown", "exchange.every": "4 updates"},
            "needs to know how many minibatches tests.fake_algorithms:Unknown makes of a trajectory: give it",
        ),
        ({"exchange.form": "late"}, "exchange.form: expected one of exact, delayed, asynchronous, got 'late'"),
        (
            {"exchange.name": "gradients", "exchange.form": "asynchronous", "exchange.codec": "auto"},
            "exchange.codec: expected a fixed one with exchange.form = 'asynchronous', which has no rounds to time",
        ),
        (
            {"exchange.name": "gradients", "exchange.form": "asynchronous", "exchange.max_staleness": -1},
            "exchange.max_staleness: expected 0 or more",
        ),
        ({"exchange.name": "experience", "exchange.batch": 0}, "exchange.batch: expected at least 1"),
        ({"exchange.name": "experience", "exchange.max_staleness": -1}, "exchange.max_staleness: expected 0 or more"),
        ({"exchange.name": "experience", "deterministic": True}, "needs exchange.name = 'weights'"),
        ({"exchange.name": "experience", "replay.ratio": 1.0, "exchange.batch": 2}, "needs exchange.batch = 1, got 2"),
        (
            {"algorithm.name": "apex_dqn", "exchange.name": "experience", "exchange.batch": 2},
            "needs exchange.batch = 1",
        ),
    ],
)
def test_settings_that_contradict_each_other(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config("CartPole-v1", overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"exchange.every": "5 seconds"},
            "needs exchange.every in steps, such as '20000 steps', or updates, got '5 seconds'",
        ),
        (
            {"exchange.every": "1 episode"},
            "needs exchange.every in steps, such as '20000 steps', or updates, got '1 episode'",
        ),
        ({"exchange.codec": "auto"}, "exchange.codec: expected a fixed one with deterministic = true, got 'auto'"),
        (
            {"exchange.name": "pairwise"},
            "exchange.name: expected 'weights' or 'gradients' with deterministic = true, got 'pairwise'",
        ),
        ({"exchange.name": "gradients", "exchange.codec": "auto"}, "exchange.codec: expected a fixed one"),
        ({"exchange.name": "gradients", "exchange.form": "delayed"}, "exchange.form: expected 'exact' with determ"),
    ],
)
def test_what_gives_other_bits_each_time_on_children(overrides: dict[str, Any], words: str) -> None:
    config = load_config("CartPole-v1", {"deterministic": True, "exchange.every": "2000 steps", **overrides})
    with pytest.raises(ConfigError, match=words):
        config.exchange.demand_same_bits()


def test_a_schedule_may_run_over_the_minutes_of_a_run() -> None:
    for length in ({"stop.minutes": 1.0}, {"algorithm.schedule_minutes": 1.0}):
        load_config("CartPole-v1", {"algorithm.schedule": "linear", **length})


def test_an_automatic_schedule_needs_no_length() -> None:
    """Without one it stays at its first number, as its progress is 0."""
    load_config(
        "CartPole-v1", {"algorithm.name": "ppo", "algorithm.schedule": "auto", "algorithm.clip_schedule": "auto"}
    )


def test_a_run_needs_an_end() -> None:
    with pytest.raises(ConfigError, match="nothing says when to stop training Thing-v0: give --steps"):
        demand_end(load_config("Thing-v0"))
    ends = ({"stop.steps": 1}, {"stop.minutes": 1.0}, {"stop.episodes": 1}, {"environment.solved_return": 0.0})
    for overrides in ends:
        demand_end(load_config("Thing-v0", overrides))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"moments": "third"}, "exchange.moments: expected one of own, second, all, got 'third'"),
        ({"outer_optimizer": "rmsprop"}, "exchange.outer_optimizer: expected one of sgd, adam, got 'rmsprop'"),
        ({"outer_optimizer": "adam"}, "exchange.outer_lr: expected at most 0.1 "),
        ({"outer_optimizer": "adam", "outer_lr": 0.01, "outer_momentum": 0.9}, "exchange.outer_momentum: expected 0 "),
        ({"moments": "all", "parts": 2}, "exchange.parts: expected 1 with exchange.moments"),
        ({"outer_beta1": 1.0}, "exchange.outer_beta1: expected 0 to below 1, got 1.0"),
        ({"outer_beta2": -0.1}, "exchange.outer_beta2: expected 0 to below 1, got -0.1"),
        ({"outer_epsilon": 0.0}, "exchange.outer_epsilon: expected more than 0, got 0.0"),
        *(
            ({"name": name, "moments": "second"}, f"exchange.moments: expected 'own' with exchange.name = {name!r}")
            for name in ("pairwise", "gradients", "experience", "observations", "auto")
        ),
        ({"name": "pairwise", "outer_optimizer": "adam", "outer_lr": 0.01}, "exchange.outer_optimizer: expected 'sgd'"),
        *(
            ({"name": name, "parts": 2}, f"exchange.parts: expected 1 with exchange.name = {name!r}")
            for name in ("pairwise", "gradients", "experience", "observations", "auto")
        ),
    ],
    ids=str,
)
def test_parts_moments_and_outer_optimizers_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    message = refused("CartPole-v1", **{f"exchange__{key}": value for key, value in settings.items()})
    assert message.startswith(words)


def test_sgd_has_no_second_moments() -> None:
    message = refused("CartPole-v1", optimizer__name="sgd", exchange__name="weights", exchange__moments="second")
    assert message.startswith("exchange.moments: expected 'own' with optimizer.name = 'sgd'")
