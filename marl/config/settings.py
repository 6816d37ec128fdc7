"""Every setting of a run: the dataclasses of each concept joined, and plain trees made of them and into them."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm
from marl.algorithms.choose import ALGORITHMS, DEFAULT, algorithm_class
from marl.config.plain import KWARGS, from_plain, kwargs_to_plain, survived, to_plain
from marl.config.types import wrong_type
from marl.data.settings import ReplaySettings
from marl.environments.settings import EnvironmentSettings
from marl.errors import ConfigError
from marl.exchanges.settings import ExchangeSettings
from marl.networks.settings import ExplorationSettings, NetworkSettings
from marl.processes.settings import NodeSettings
from marl.reports.settings import EvaluationSettings, ReportSettings, StopSettings
from marl.training.optimizers import OptimizerSettings
from marl.training.settings import CheckpointSettings

Section = TypeVar("Section")


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


def replay_ratio(config: Config) -> float:
    """How often each step is learned from again; 0: there is no replay."""
    ratio = config.replay.ratio
    return config.algorithm.replay_ratio if ratio is None else ratio


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


def to_tree(config: Config) -> dict[str, Any]:
    """Plain dictionaries, lists, numbers and texts, as files and messages hold them; see ``marl.config.plain``.

    Settings that are None, as they are by default, are left out.

    Raises:
        ConfigError: a value cannot be written.
    """
    kwargs = config.environment.kwargs
    config = dataclasses.replace(config, environment=dataclasses.replace(config.environment, kwargs={}))
    tree: dict[str, Any] = {}
    for each in dataclasses.fields(config):
        section = getattr(config, each.name)
        if dataclasses.is_dataclass(section):
            tree[each.name] = _plain_section(section, f"{each.name}.")
        elif section is not None:
            tree[each.name] = to_plain(section, each.name)
    tree["environment"]["kwargs"] = kwargs_to_plain(kwargs)
    return tree


def _plain_section(section: Any, prefix: str) -> dict[str, Any]:
    fields = [(each, getattr(section, each.name)) for each in dataclasses.fields(section)]
    return {
        each.name: to_plain(_lists(msgspec.to_builtins(value)), prefix + each.name)
        for each, value in fields
        if value is not None or each.default is not None
    }


def _lists(value: Any) -> Any:
    """Lists in place of tuples and sets: the setting's type makes of them what they were."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple, set, frozenset)) else value


def from_tree(tree: Mapping[str, Any]) -> Config:
    """The inverse of ``to_tree``; whether the values can work is for ``marl.config.rules``.

    Raises:
        ConfigError: an unknown key, or a value of the wrong kind.
    """
    tree = {name: _from_plain_section(name, section) for name, section in tree.items()}
    algorithm = tree.pop("algorithm", {})
    if not isinstance(algorithm, Mapping):
        raise ConfigError(
            f"algorithm: expected a section of settings, got {algorithm!r:.60}: write --set algorithm.KEY=VALUE"
        )
    name = algorithm.get("name", DEFAULT)
    if not isinstance(name, str):
        raise ConfigError(f"algorithm.name: expected text, got {name!r:.60}: write --set algorithm.name=ppo")
    kind = algorithm_class(name)
    _check_keys(tree, Config, "", kind)
    _check_keys(algorithm, kind, "algorithm.", kind)
    config = _typed(tree, Config, "")
    exchange = config.exchange if config.exchange.name else dataclasses.replace(config.exchange, name=kind.exchange)
    numbers = _typed({**algorithm, "name": name}, kind, "algorithm.")
    return dataclasses.replace(config, algorithm=numbers, exchange=exchange)


def _from_plain_section(name: str, section: Any) -> Any:
    if not isinstance(section, Mapping):
        return section
    values = {
        key: value if f"{name}.{key}" == KWARGS else from_plain(value, f"{name}.{key}")
        for key, value in section.items()
    }
    if isinstance(kwargs := values.get("kwargs"), dict) and name == "environment":
        values["kwargs"] = survived(kwargs)
    return values


def _typed(tree: Mapping[str, Any], kind: type[Section], prefix: str) -> Section:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(wrong_type(error, tree, kind, prefix)) from error


def _check_keys(tree: Mapping[str, Any], kind: type, prefix: str, algorithm: type[Algorithm]) -> None:
    fields = {each.name: each for each in dataclasses.fields(kind)}
    for key, value in tree.items():
        if key not in fields:
            if having := _elsewhere(prefix, key):
                raise ConfigError(f"no setting is called {prefix + key!r:.80} here: {having} has it")
            near = difflib.get_close_matches(f"{prefix}{key:.80}", all_keys(algorithm), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
            raise ConfigError(f"no setting is called {prefix + key!r:.80}: {hint}")
        inner = fields[key].type
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            if not isinstance(value, Mapping):
                raise ConfigError(_no_section(f"{prefix}{key}", value))
            _check_keys(value, inner, f"{prefix}{key}.", algorithm)


def _no_section(key: str, value: object) -> str:
    return f"{key}: expected a section of settings, got {value!r:.60}: write --set {key}.KEY=VALUE"


def _elsewhere(prefix: str, key: str) -> str:
    """Which algorithms have a setting that this one lacks."""
    if prefix != "algorithm.":
        return ""
    having = [name for name in ALGORITHMS if key in {each.name for each in dataclasses.fields(algorithm_class(name))}]
    return f"algorithm.name = {' or '.join(map(repr, having))}" if having else ""
