"""Every setting of a run: the dataclasses of each concept joined, and plain trees made of them and into them."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import msgspec

from marl.algorithms.algorithm_class import ALGORITHMS, DEFAULT, algorithm_class
from marl.algorithms.base import Algorithm
from marl.config.plain import KWARGS, from_plain, kwargs_to_plain, survived, to_plain
from marl.config.types import wrong_type
from marl.errors import ConfigError
from marl.exchanges.base import Exchange
from marl.exchanges.exchange_class import exchange_class
from marl.exchanges.run import RunSettings
from marl.exchanges.weights.exchange import Weights
from marl.processes.settings import ClockSettings, NodeSettings
from marl.reports.settings import EvaluationSettings, ReportSettings, StopSettings
from marl.training.settings import CheckpointSettings

Section = TypeVar("Section")


@dataclass(frozen=True)
class Config(RunSettings):
    """Everything that a run depends on."""

    exchange: Exchange = field(default_factory=Weights)
    node: NodeSettings = field(default_factory=NodeSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)
    stop: StopSettings = field(default_factory=StopSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    report: ReportSettings = field(default_factory=ReportSettings)


class Kinds(NamedTuple):
    """The classes of those sections that a name chooses."""

    algorithm: type[Algorithm]
    exchange: type[Exchange]


def all_keys(algorithm: type[Algorithm] | None = None, exchange: type[Exchange] = Exchange) -> list[str]:
    """The path of every setting, of one algorithm or of all that come with marl."""
    algorithms = [algorithm] if algorithm else [algorithm_class(name) for name in ALGORITHMS]
    chosen: dict[str, list[Any]] = {"algorithm": [*algorithms], "exchange": [exchange]}
    keys: dict[str, None] = {}  # in order, each once
    for each in dataclasses.fields(Config):
        for section in chosen.get(each.name, [each.type]):
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
    algorithm, exchange = (_pop_section(tree, name) for name in Kinds._fields)
    algorithm_name = _name_in(algorithm, "algorithm", example="ppo", default=DEFAULT)
    algorithm_kind = algorithm_class(algorithm_name)
    exchange_name = _name_in(exchange, "exchange", example="weights") or algorithm_kind.exchange
    kinds = Kinds(algorithm_kind, exchange_class(exchange_name))
    _check_keys(tree, Config, "", kinds)
    _check_keys(algorithm, kinds.algorithm, "algorithm.", kinds)
    _check_keys(exchange, kinds.exchange, "exchange.", kinds)
    config = _typed(tree, Config, "")
    return dataclasses.replace(
        config,
        algorithm=_typed({**algorithm, "name": algorithm_name}, kinds.algorithm, "algorithm."),
        exchange=_typed({**exchange, "name": exchange_name}, kinds.exchange, "exchange."),
    )


def _pop_section(tree: dict[str, Any], name: str) -> Mapping[str, Any]:
    section = tree.pop(name, {})
    if not isinstance(section, Mapping):
        raise ConfigError(_no_section(name, section))
    return section


def _name_in(section: Mapping[str, Any], key: str, *, example: str, default: str = "") -> str:
    """What chooses the section's class."""
    name = section.get("name", default)
    if not isinstance(name, str):
        raise ConfigError(f"{key}.name: expected text, got {name!r:.60}: write --set {key}.name={example}")
    return name


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


def _check_keys(tree: Mapping[str, Any], kind: type, prefix: str, kinds: Kinds) -> None:
    fields = {each.name: each for each in dataclasses.fields(kind)}
    for key, value in tree.items():
        if key not in fields:
            if having := _elsewhere(prefix, key):
                raise ConfigError(f"no setting is called {prefix + key!r:.80} here: {having} has it")
            near = difflib.get_close_matches(f"{prefix}{key:.80}", all_keys(*kinds), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
            raise ConfigError(f"no setting is called {prefix + key!r:.80}: {hint}")
        inner = fields[key].type
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            if not isinstance(value, Mapping):
                raise ConfigError(_no_section(f"{prefix}{key}", value))
            _check_keys(value, inner, f"{prefix}{key}.", kinds)


def _no_section(key: str, value: object) -> str:
    return f"{key}: expected a section of settings, got {value!r:.60}: write --set {key}.KEY=VALUE"


def _elsewhere(prefix: str, key: str) -> str:
    """Which algorithms have a setting that this one lacks."""
    if prefix != "algorithm.":
        return ""
    having = [name for name in ALGORITHMS if key in {each.name for each in dataclasses.fields(algorithm_class(name))}]
    return f"algorithm.name = {' or '.join(map(repr, having))}" if having else ""
