import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.algorithms.a3c import A3C
from marl.algorithms.ppo import PPO
from marl.config import (
    Config,
    all_keys,
    demand_end,
    from_tree,
    load_config,
    parse_override,
    preset_names,
    to_toml,
    to_tree,
)
from marl.environments.settings import EnvironmentSettings
from marl.errors import ConfigError
from tests.fakes import Lazy

ROOT = Path(__file__).parents[1]

# For every setting a value that is not its default.
OTHER: dict[str, Any] = {
    "seed": 7,
    "deterministic": True,
    "environment.id": "my.module:Ünusual-v0",
    "environment.kwargs": {"gravity": -9.81, "names": ["a", 'b"\\\n'], "inner": {"on": True}, "odd key": 1e-7},
    "environment.per_worker": 3,
    "environment.backend": "envpool",
    "environment.normalize_observations": True,
    "environment.normalize_rewards": True,
    "environment.reward_scale": 0.1,
    "environment.solved_return": 1e22,
    "network.name": "my.module:Network",
    "network.hidden": [1, 2, 3],
    "network.activation": "relu",
    "network.shared_trunk": True,
    "network.log_std": -0.5,
    "exploration.sampler": "my.module:Sampler",
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
    "algorithm.max_gradient_norm": 40.0,
    "algorithm.normalize_advantages": False,
    "algorithm.epochs": 2,
    "algorithm.num_minibatches": 3,
    "algorithm.clip": 0.125,
    "algorithm.clip_schedule": "linear",
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
    "exchange.outer_lr": 0.7,
    "exchange.outer_momentum": 0.9,
    "exchange.alpha": 0.25,
    "exchange.beta": 0.75,
    "exchange.aggregate": "median",
    "exchange.clip": 3.0,
    "exchange.queue": 8,
    "exchange.batch": 2,
    "exchange.max_staleness": 5,
    "exchange.zstd": True,
    "exchange.inference_batch": 16,
    "exchange.inference_wait_us": 10.0,
    "node.workers": 1,
    "node.max_restarts": 3,
    "stop.solved": False,
    "stop.steps": 1_000_000,
    "stop.minutes": 1.5,
    "stop.episodes": 3,
    "evaluation.episodes": 7,
    "evaluation.every_seconds": 1.5,
    "evaluation.greedy": False,
    "checkpoint.every_seconds": 1.5,
    "checkpoint.every_steps": 77,
    "report.runs": "C:\\runs",
    "report.every_seconds": 0.25,
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


def test_this_file_knows_every_setting() -> None:
    assert sorted(OTHER) == sorted(all_keys(PPO))
    for key, value in OTHER.items():
        before = Config() if key == "algorithm.name" else Config(algorithm=PPO())
        assert value_of(before, key) != value


@pytest.mark.parametrize("key", OTHER)
def test_every_setting_survives_a_file(key: str) -> None:
    """Alone, whatever else it may contradict: a run folder says what was, and reading it changes nothing."""
    tree: Any = OTHER[key]
    for part in reversed(key.split(".")):
        tree = {part: tree}
    if key.startswith("algorithm."):
        tree["algorithm"]["name"] = "ppo"  # whose numbers OTHER has
    config = from_tree(tree)
    assert value_of(config, key) == OTHER[key]
    assert from_tree(tomllib.loads(to_toml(config))) == config
    assert from_tree(to_tree(config)) == config


def test_all_settings_at_once_survive_a_file(tmp_path: Path) -> None:
    apart = ("stop.minutes", "exchange.name", "replay.ratio")  # contradict others
    config = load_config(None, {key: value for key, value in OTHER.items() if key not in apart})
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert load_config(path) == config


tables = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner.filter(lambda value: value is not None), max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(), tables, max_size=4))
def test_any_arguments_of_an_environment_survive_a_file(kwargs: dict[str, Any]) -> None:
    """But for None, which TOML lacks: it is left out."""
    config = Config(environment=EnvironmentSettings(kwargs=kwargs))
    assert from_tree(tomllib.loads(to_toml(config))) == from_tree(to_tree(config))


def test_a_preset_an_environment_or_a_file(tmp_path: Path) -> None:
    assert load_config("CartPole-v1").environment.solved_return == 475
    other = load_config("my.module:Thing-v0", {"stop.steps": 5})
    assert (other.environment.id, other.algorithm) == ("my.module:Thing-v0", A3C())
    path = tmp_path / "mine.toml"
    path.write_text('seed = 3\n[environment]\nid = "Acrobot-v1"\n[stop]\nsteps = 9\n')
    assert load_config(path).seed == load_config(str(path)).seed == 3
    assert load_config(path, {"seed": 4}).seed == 4  # single keys win


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_and_say_when_they_end(name: str) -> None:
    config = load_config(name)
    demand_end(config)
    assert config.environment.id == name
    assert config.environment.solved_return is not None


ALSO = [(path.parent.name, path.stem) for path in (ROOT / "marl/presets").glob("*/*.toml")]


@pytest.mark.parametrize(("algorithm", "name"), ALSO)
def test_presets_of_other_algorithms(algorithm: str, name: str) -> None:
    config = load_config(name, {"algorithm.name": algorithm})
    demand_end(config)
    assert (config.environment.id, config.algorithm.name) == (name, algorithm)


def test_another_algorithm_than_the_presets_keeps_only_the_task() -> None:
    """Numbers that were tuned for one are no good for another."""
    config = load_config("Acrobot-v1", {"algorithm.name": "ppo"})
    assert config.algorithm == PPO()
    assert config.environment == EnvironmentSettings("Acrobot-v1", solved_return=-100.0)
    assert load_config("Acrobot-v1", {"algorithm.name": "a3c"}) == load_config("Acrobot-v1")


def test_an_algorithm_of_the_users_own() -> None:
    config = load_config("Acrobot-v1", {"algorithm.name": "tests.fakes:Lazy", "algorithm.patience": 3})
    assert config.algorithm == Lazy("tests.fakes:Lazy", patience=3)
    assert from_tree(to_tree(config)) == config


@pytest.mark.parametrize("name", ["tests.fakes:CountingEnv", "tests.fakes:counting", "ppo2"])
def test_what_is_no_algorithm(name: str) -> None:
    assert "algorithm.name: expected" in refused(algorithm__name=name)


def test_a_key_that_another_algorithm_has() -> None:
    assert "'algorithm.clip' here: algorithm.name = 'ppo' has it" in refused(algorithm__clip=0.2)


def test_the_presets_that_are_promised() -> None:
    promised = {
        "MountainCar-v0",
        "BipedalWalker-v3",
        "CartPole-v1",
        "Acrobot-v1",
        "Pendulum-v1",
        "LunarLander-v3",
        "LunarLanderContinuous-v3",
    }
    assert promised <= set(preset_names())


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("algorithm.learning_rat", "algorithm.learning_rate"),
        ("algorithm.lambda", "algorithm.gae_lambda"),
        ("environment.per_workers", "environment.per_worker"),
        ("node.worker", "node.workers"),
        ("stop.step", "stop.steps"),
        ("sed", "seed"),
        ("algorith.discount", None),
    ],
)
def test_an_unknown_key_suggests_the_nearest(key: str, near: str | None) -> None:
    message = refused(**{key.replace(".", "__"): 1})
    if near is None:
        assert "no setting is called 'algorith'" in message
    else:
        assert message == f"no setting is called {key!r}: did you mean {near!r}?"


def test_an_unknown_key_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[algorithm]\nlearning_rte = 1e-3\n")
    assert "did you mean 'algorithm.learning_rate'?" in refused(path)
    path.write_text("zzz = 1\n")
    assert "known: seed, deterministic, environment" in refused(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("algorithm.t_max", "five", "algorithm.t_max: expected `int`, got `str`"),
        ("algorithm.t_max", 5.5, "algorithm.t_max: expected `int`, got `float`"),
        ("algorithm.learning_rate", "fast", "algorithm.learning_rate: expected `float`, got `str`"),
        ("environment.normalize_rewards", 1, "environment.normalize_rewards: expected `bool`, got `int`"),
        ("network.hidden", 64, "network.hidden: expected `array`, got `int`"),
        ("environment.kwargs", [1], "environment.kwargs: expected `object`, got `array`"),
        ("seed", True, "seed: expected `int | null`, got `bool`"),
        ("algorithm", 3, "algorithm: expected a section of settings, got 3"),
        ("algorithm.t_max.x", 3, "algorithm.t_max"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_key(key: str, value: Any, words: str) -> None:
    assert words in refused(**{key.replace(".", "__"): value})


def test_a_section_within_a_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 1\n")
    assert refused(path, seed__x=2) == "seed.x: seed is a value, not a section"


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
        ({"deterministic": True, "replay.ratio": 1.0}, "needs replay.ratio = 0"),
        ({"algorithm.schedule": "linear"}, "needs algorithm.schedule_steps or stop.steps"),
        (
            {"algorithm.name": "ppo", "algorithm.clip_schedule": "linear", "stop.minutes": 1.0},
            "clip_schedule = 'linear' needs algorithm.schedule_steps or stop.steps",
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


def test_a_run_needs_an_end() -> None:
    with pytest.raises(ConfigError, match="nothing says when to stop training Thing-v0: give --steps"):
        demand_end(load_config("Thing-v0"))
    ends = ({"stop.steps": 1}, {"stop.minutes": 1.0}, {"stop.episodes": 1}, {"environment.solved_return": 0.0})
    for overrides in ends:
        demand_end(load_config("Thing-v0", overrides))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("algorithm.t_max=5", ("algorithm.t_max", 5)),
        (" algorithm.learning_rate = 2e-3 ", ("algorithm.learning_rate", 2e-3)),
        ("network.hidden=[64, 32]", ("network.hidden", [64, 32])),
        ("stop.solved=false", ("stop.solved", False)),
        ('environment.id="A-v0"', ("environment.id", "A-v0")),
        ("environment.id=A-v0", ("environment.id", "A-v0")),  # not TOML: taken as text
        ("environment.kwargs={gravity = -9.8}", ("environment.kwargs", {"gravity": -9.8})),
        ("environment.kwargs.name=a=b", ("environment.kwargs.name", "a=b")),
        ("report.runs=", ("report.runs", "")),
    ],
)
def test_single_keys_from_the_shell(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["", "seed", "=5", "  =5"])
def test_what_is_no_key_and_value(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected key\.path=value, got"):
        parse_override(text)


def test_single_keys_reach_into_arguments_of_the_environment() -> None:
    config = load_config("CartPole-v1", {"environment.kwargs.gravity": 3, "environment.kwargs.deep.er": 4})
    assert config.environment.kwargs == {"gravity": 3, "deep": {"er": 4}}


@pytest.mark.parametrize(
    ("content", "words"), [(b"seed = ", "is not a TOML file"), (b"\xff\xfe", "cannot read the configuration file")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    assert words in refused(path)
    assert "cannot read the configuration file" in refused(tmp_path / "missing.toml")


def test_nobody_changes_a_config() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 3  # type: ignore[misc]
