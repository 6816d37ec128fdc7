"""Settings of a run on an environment that has no preset: what the user says, on top of what a look at it suggests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from marl.config.files import is_bare_name, is_file, load_config, toml_value
from marl.config.settings import Config
from marl.config.suggest import DEFAULT, Suggestion, suggest
from marl.environments import look as looking
from marl.errors import ConfigError
from marl.plugins import foreign_code
from marl.processes.signals import at_most, raising

LOOK_S = 2.0
MOST_WIDTH = 44  # letters of settings on a line, before their reason is no longer below the others
PATIENCE_S = 10.0  # for a reset or a step in which the look would end, and that does not come back


class Chosen(NamedTuple):
    """The settings of a run."""

    config: Config
    suggestions: list[Suggestion]  # that were followed, the most important first; none where there was no need
    notes: tuple[str, ...] = ()  # what else the look found that the user should know, a line each

    def in_words(self) -> list[str]:
        """Lines for the user: the settings, those with the same reason together, and the notes."""
        if not self.suggestions:
            return list(self.notes)
        name, algorithm = self.config.environment.id, self.config.algorithm.name
        how = name if algorithm == DEFAULT else f"{name} --algorithm {algorithm}"
        reasons: dict[str, list[str]] = {}
        for each in self.suggestions:
            reasons.setdefault(each.why, []).append(f"{each.key} = {toml_value(each.value)}")
        found = [(", ".join(settings), why) for why, settings in reasons.items()]
        width = min(MOST_WIDTH, max(len(what) for what, _ in found))
        return [
            f"{name} has no preset; a look at it chose (marl suggest {how} prints a file of it):",
            *(f"  {what:<{width}}  # {why}" for what, why in found),
            *self.notes,
        ]


def choose(
    source: str | Path | None, settings: Mapping[str, Any], allow: tuple[str, ...] = (), *, look: bool = True
) -> Chosen:
    """The settings of a file or a preset, or those that fit an environment; ``settings`` win.

    Args:
        look: whether to look at an environment that has no preset; no: its settings are the defaults.

    Raises:
        ConfigError: settings that cannot work.
        EnvironmentFault, MissingExtra: the environment cannot be made, or not be trained on.
    """
    single = _single(settings)
    if not look or not is_bare_name(source, single.get("algorithm.name")):
        return Chosen(load_config(source, settings, allow=allow), [])
    settings = single
    config = _with_default(source, settings, allow)
    return _chosen(config, source, settings, allow)


def choose_anew(environment: str, settings: Mapping[str, Any], allow: tuple[str, ...] = ()) -> Chosen:
    """The same, whether there is a preset or not.

    Raises:
        ConfigError: it is a file, or settings that cannot work.
        EnvironmentFault, MissingExtra: see ``choose``.
    """
    if is_file(environment):
        raise ConfigError(
            f"expected an environment, such as Taxi-v4 or package.module:Id-v0, got the file {environment}"
        )
    settings = {"environment.id": environment, **_single(settings)}
    return _chosen(_with_default(None, settings, allow), None, settings, allow)


def _with_default(source: str | Path | None, settings: Mapping[str, Any], allow: tuple[str, ...]) -> Config:
    """The settings, if the user names no algorithm for the one that is suggested: the user may set its numbers."""
    return load_config(source, {"algorithm.name": DEFAULT, **settings}, allow=allow)


def _chosen(config: Config, source: str | Path | None, settings: Mapping[str, Any], allow: tuple[str, ...]) -> Chosen:
    """What goes with ``settings`` of what a look suggests."""
    environment = config.environment
    with raising(), foreign_code(environment.id):
        seen = looking.look(environment, seconds=LOOK_S, limit=at_most(PATIENCE_S))
    followed: list[Suggestion] = []
    for each in suggest(seen, settings.get("algorithm.name"), timed=not config.deterministic):
        if each.key in settings:
            continue
        wanted = {one.key: one.value for one in (*followed, each)}
        try:
            config = load_config(source, {**wanted, **settings}, allow=allow)
        except ConfigError:  # it does not go with what the user has set
            continue
        followed.append(each)
    return Chosen(config, followed, tuple(filter(None, [seen.unused_mask])))


def _single(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Each setting by its path, of sections that are given whole as well."""
    found: dict[str, Any] = {}
    for path, value in settings.items():
        whole = "." not in path and isinstance(value, Mapping)
        found |= {f"{path}.{name}": each for name, each in value.items()} if whole else {path: value}
    return found
