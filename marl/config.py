"""The settings of one run: dataclasses of each concept joined, TOML files read, single keys overridden."""

import contextlib
import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm
from marl.algorithms.choose import ALGORITHMS, DEFAULT, algorithm_class
from marl.averaging.robust import RULES
from marl.data.settings import ReplaySettings
from marl.environments.settings import EnvironmentSettings
from marl.errors import ConfigError
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.triggers import parse_trigger
from marl.networks.settings import ExplorationSettings, NetworkSettings
from marl.processes.settings import NodeSettings
from marl.reports.settings import EvaluationSettings, ReportSettings, StopSettings
from marl.training.optimizers import OPTIMIZERS, OptimizerSettings
from marl.training.settings import CheckpointSettings
from marl.wire.codec import CODECS

Section = TypeVar("Section")
EXCHANGES = ("weights", "pairwise", "experience", "observations")
LEARNER_EXCHANGES = ("experience", "observations")  # children only play


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on."""

    seed: int | None = None  # None: drawn once and written down
    deterministic: bool = False  # same seed, same bits: one worker, decisions only at checkpoints
    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    exploration: ExplorationSettings = field(default_factory=ExplorationSettings)
    algorithm: Algorithm = field(default_factory=A3C)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    exchange: ExchangeSettings = field(default_factory=ExchangeSettings)
    node: NodeSettings = field(default_factory=NodeSettings)
    stop: StopSettings = field(default_factory=StopSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    report: ReportSettings = field(default_factory=ReportSettings)


def preset_names() -> list[str]:
    """Names of the presets that come with marl, each an environment's id."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in resources.files("marl.presets").iterdir()
        if entry.name.endswith(".toml")
    )


def load_config(source: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Settings from a preset's name, an environment's name or a TOML file, with single keys on top.

    Raises:
        ConfigError: an unknown key, a value of the wrong kind, or values that contradict each other.
    """
    overrides = dict(overrides or {})
    tree = _read(str(source), overrides.get("algorithm.name")) if source is not None else {}
    for path, value in overrides.items():
        _put(tree, path, value)
    config = _convert(tree)
    validate(config)
    return config


def parse_override(text: str) -> tuple[str, Any]:
    """``key.path=value``, the value as TOML writes it; what is not TOML is taken as text.

    Raises:
        ConfigError: there is no equals sign.
    """
    path, separator, value = text.partition("=")
    if not separator or not path.strip():
        raise ConfigError(f"--set: expected key.path=value, got {text!r}")
    try:
        return path.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        with contextlib.suppress(ValueError):
            return path.strip(), float(value)  # .7 is a number to people, though not to TOML
        return path.strip(), value.strip()


def to_tree(config: Config) -> dict[str, Any]:
    """Plain dictionaries, lists, numbers and texts, without the keys that are None."""
    tree = msgspec.to_builtins(config)
    return _without_none(tree)  # type: ignore[no-any-return]


def from_tree(tree: Mapping[str, Any]) -> Config:
    """The inverse of ``to_tree``.

    Raises:
        ConfigError: as for ``load_config``.
    """
    return _convert(tree)


def to_toml(config: Config) -> str:
    """The resolved configuration as a file that ``load_config`` reads."""
    lines: list[str] = []
    _write_table(to_tree(config), (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _read(source: str, algorithm: object) -> dict[str, Any]:
    """Settings from a file or preset; of the preset, those for ``algorithm`` where one is asked for."""
    path = Path(source)
    if path.suffix == ".toml" or path.is_file():
        try:
            return _parse(path.read_text(encoding="utf-8"), source)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the configuration file {source}: {error}") from error
    presets = resources.files("marl.presets")
    if ":" in source or "/" in source:
        return {"environment": {"id": source}}
    if isinstance(algorithm, str) and algorithm in ALGORITHMS and (presets / algorithm / f"{source}.toml").is_file():
        return _parse((presets / algorithm / f"{source}.toml").read_text(encoding="utf-8"), source)
    if not (presets / f"{source}.toml").is_file():
        return {"environment": {"id": source}}
    tree = _parse((presets / f"{source}.toml").read_text(encoding="utf-8"), source)
    if algorithm is None or algorithm == tree.get("algorithm", {}).get("name", DEFAULT):
        return tree
    environment = tree.get("environment", {})  # tuned for another algorithm: only what defines the task is kept
    return {
        "environment": {
            key: environment[key] for key in ("id", "kwargs", "backend", "solved_return") if key in environment
        }
    }


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not a TOML file: {error}") from error


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, last = path.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {section} is a value, not a section")
        tree = inner
    tree[last] = value


def _convert(tree: Mapping[str, Any]) -> Config:
    tree = dict(tree)
    algorithm = tree.pop("algorithm", {})
    if not isinstance(algorithm, Mapping):
        raise ConfigError(f"algorithm: expected a section of settings, got {algorithm!r}")
    name = algorithm.get("name", DEFAULT)
    if not isinstance(name, str):
        raise ConfigError(f"algorithm.name: expected text, got {name!r}")
    kind = algorithm_class(name)
    _check_keys(tree, Config, "", kind)
    _check_keys(algorithm, kind, "algorithm.", kind)
    config = _typed(tree, Config, "")
    exchange = config.exchange if config.exchange.name else dataclasses.replace(config.exchange, name=kind.exchange)
    numbers = _typed({**algorithm, "name": name}, kind, "algorithm.")
    return dataclasses.replace(config, algorithm=numbers, exchange=exchange)


def _typed(tree: Mapping[str, Any], kind: type[Section], prefix: str) -> Section:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        where = f"{prefix}{place.rstrip('`')}: " if place else ""
        hint = ": write it as text, in quotes" if "`str`" in reason.partition(", got")[0] else ""
        raise ConfigError(f"{where}{reason[:1].lower()}{reason[1:]}{hint}") from error


def _check_keys(tree: Mapping[str, Any], kind: type, prefix: str, algorithm: type[Algorithm]) -> None:
    fields = {each.name: each for each in dataclasses.fields(kind)}
    for key, value in tree.items():
        if key not in fields:
            if having := _elsewhere(prefix, key):
                raise ConfigError(f"no setting is called {prefix + key!r} here: {having} has it")
            near = difflib.get_close_matches(f"{prefix}{key}", all_keys(algorithm), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
            raise ConfigError(f"no setting is called {prefix + key!r}: {hint}")
        inner = fields[key].type
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{key}: expected a section of settings, got {value!r}")
            _check_keys(value, inner, f"{prefix}{key}.", algorithm)


def _elsewhere(prefix: str, key: str) -> str:
    """Which algorithms have a setting that this one lacks."""
    if prefix != "algorithm.":
        return ""
    having = [name for name in ALGORITHMS if key in {each.name for each in dataclasses.fields(algorithm_class(name))}]
    return f"algorithm.name = {' or '.join(map(repr, having))}" if having else ""


def all_keys(algorithm: type[Algorithm] | None = None) -> list[str]:
    """The path of every setting, of one algorithm or of all that come with marl."""
    kinds = [algorithm] if algorithm else [algorithm_class(name) for name in ALGORITHMS]
    keys: dict[str, None] = {}  # in order, each once
    for each in dataclasses.fields(Config):
        sections: list[Any] = kinds if each.name == "algorithm" else [each.type]
        for section in sections:
            if dataclasses.is_dataclass(section) and isinstance(section, type):
                keys |= dict.fromkeys(f"{each.name}.{inner.name}" for inner in dataclasses.fields(section))
            else:
                keys[each.name] = None
    return list(keys)


def validate(config: Config) -> None:
    """Refuse values that can never work, before any process starts.

    Raises:
        ConfigError: there is one.
    """
    algorithm, environment, stop = config.algorithm, config.environment, config.stop
    _demand(environment.per_worker >= 1, "environment.per_worker", "at least 1", environment.per_worker)
    algorithm.validate()
    _demand(
        all(width >= 1 for width in config.network.hidden),
        "network.hidden",
        "at least 1 each",
        config.network.hidden,
    )
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
    _demand(config.evaluation.episodes >= 0, "evaluation.episodes", "0 or more", config.evaluation.episodes)
    exchange = config.exchange
    parse_trigger(exchange.every)
    codecs = (*CODECS, "auto")
    _demand(exchange.codec in codecs, "exchange.codec", f"one of {', '.join(codecs)}", exchange.codec)
    _demand(exchange.name in EXCHANGES, "exchange.name", f"one of {', '.join(EXCHANGES)}", exchange.name)
    if exchange.name in LEARNER_EXCHANGES:
        _validate_experience(config)
    rules = ("mean", *RULES)
    _demand(exchange.aggregate in rules, "exchange.aggregate", f"one of {', '.join(rules)}", exchange.aggregate)
    for name in ("alpha", "beta"):
        _demand(0 < getattr(exchange, name) <= 1, f"exchange.{name}", "more than 0, at most 1", getattr(exchange, name))
    if exchange.name == "pairwise":
        _demand(not exchange.barrier, "exchange.barrier", "false with exchange.name = 'pairwise'", exchange.barrier)
        mixing = ("float32", "bfloat16", "float16")  # the others round changes, and here there are none
        _demand(exchange.codec in mixing, "exchange.codec", f"one of {', '.join(mixing)} with pairwise", exchange.codec)
    _demand(exchange.outer_lr > 0, "exchange.outer_lr", "more than 0", exchange.outer_lr)
    _demand(0 <= exchange.outer_momentum < 1, "exchange.outer_momentum", "0 to below 1", exchange.outer_momentum)
    _demand(exchange.clip >= 1, "exchange.clip", "at least 1", exchange.clip)
    if config.deterministic and config.node.workers > 1:
        raise ConfigError(f"deterministic = true allows one worker, got node.workers = {config.node.workers}")
    if config.deterministic and stop.minutes is not None:
        raise ConfigError("deterministic = true cannot stop by minutes: no two runs are equally fast; use stop.steps")


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


def replay_ratio(config: Config) -> float:
    """How often each step is learned from again; 0: there is no replay."""
    ratio = config.replay.ratio
    return config.algorithm.replay_ratio if ratio is None else ratio


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


def _without_none(tree: Any) -> Any:
    if isinstance(tree, (list, tuple)):
        return [_without_none(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    return {key: _without_none(value) for key, value in tree.items() if value is not None}


def _write_table(tree: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    values = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in tree.items() if isinstance(value, dict)}
    if path and (values or not tables):
        lines.append(f"\n[{'.'.join(map(_toml_key, path))}]")
    lines.extend(f"{_toml_key(key)} = {_toml_value(value)}" for key, value in values.items())
    for key, value in tables.items():
        _write_table(value, (*path, key), lines)


def _toml_key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isascii() and plain.isalnum() else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) or "." in repr(value) else repr(value).replace("e", ".0e")
    text = msgspec.json.encode(value).decode()  # JSON's texts, integers and booleans are TOML's too
    return text.replace("\x7f", "\\u007f")  # but for this character, which TOML wants escaped
