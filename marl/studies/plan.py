"""Every run of a study before it starts: its settings, checked, and its place; and whether an old run has them."""

import copy
import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marl.cluster.runs.prepare import complete, demand_place
from marl.config.files import load_config, put, to_toml
from marl.config.names import demand_allowed
from marl.config.overrides import settings_from_plain
from marl.config.settings import Config, to_tree
from marl.errors import ConfigError, MarlError, RunFolderError
from marl.exchanges.run import replay_ratio
from marl.reports.run_folder import RunFolder
from marl.studies.place import latest_run, without_settings
from marl.studies.study_file import METRICS, Cell, Study

RUNS = "runs"  # folder of all runs, in the study's own
WEIGHTS = "weights.pt"
# Settings that change nothing a study compares: what a run folder says of them may differ.
_FREE = ("report", "node.max_restarts", "checkpoint.every_seconds")
_MOST_DIFFERENCES = 3  # that one line names


class Planned(NamedTuple):
    """One run of a study."""

    cell: Cell
    seed: int
    base: str
    settings: dict[str, Any]  # by path, as TOML has them; on top of the base
    config: Config  # complete: what follows from both
    place: Path  # holds its run folder: several where one could not be resumed

    @property
    def weights(self) -> Path:
        """Where the policy is written at the end."""
        return self.place / WEIGHTS

    @property
    def name(self) -> str:
        """In lines for the user."""
        return f"{self.cell.label}, seed {self.seed}"

    @property
    def resumable(self) -> bool:
        """Whether a run with these settings can go on from its checkpoint."""
        return not (self.config.deterministic and replay_ratio(self.config))


def plan(study: Study, folder: Path, allow: Collection[str]) -> list[Planned]:
    """All runs: the first seed of each cell, then the second, so that an early report compares all cells.

    Raises:
        MarlError: settings that cannot work.
    """
    firsts = [_first_run(study, cell, folder / RUNS / cell.folder, allow) for cell in study.cells]
    _demand_alike(study, firsts)
    return [
        run._replace(
            seed=seed,
            settings={**run.settings, "seed": seed},
            config=dataclasses.replace(run.config, seed=seed),
            place=run.place.with_name(f"seed-{seed}"),
        )
        for seed in study.seeds
        for run in firsts
    ]


def demand_unchanged(runs: list[Planned], allow: Collection[str]) -> None:
    """Refuse run folders whose settings are gone, or not those that the study gives them, or that do not say how far
    they are.

    Raises:
        RunFolderError: there is one.
    """
    for planned in runs:
        if bare := without_settings(planned.place):
            raise RunFolderError(
                f"{planned.name}: {bare[0]} has lost its config.toml: put it back, or move that folder away to have "
                "the run made again"
            )
        if (run := latest_run(planned.place)) is not None:
            if run.facts.exists() and not run.read_facts():  # a finished run would be made again
                raise RunFolderError(
                    f"{planned.name}: {run.facts} is damaged, and says whether the run has ended: put it back, or move "
                    "that folder away to have the run made again"
                )
            _demand_same(planned, run, allow)


def changed_since(planned: Planned, allow: Collection[str]) -> str:
    """Why a run may not start any more: it would have other settings than planned, as its base was edited meanwhile;
    "" if it may.
    """
    try:
        config = complete(_config(planned.base, planned.settings, allow))
        if to_toml(config) == to_toml(planned.config):
            return ""
        came = "other settings"
    except MarlError as error:
        came = str(error)
    return f"expected {planned.base} as it was when the study began, got {came}: undo the change"


def _first_run(study: Study, cell: Cell, folder: Path, allow: Collection[str]) -> Planned:
    settings, seed = {**cell.settings, "seed": study.seeds[0]}, study.seeds[0]
    try:
        demand_allowed(_as_tree(study.base, settings), study.path, allow)
        if cell.children > 1 and study.divide:
            settings |= _divided(study.divide, cell.children, _config(study.base, settings, allow))
        config = complete(_config(study.base, settings, allow))
        if config.exchange.is_open:
            raise ConfigError(
                f"exchange.name: expected one by its name, got {config.exchange.name!r}: measured times would give the "
                "seeds of a cell different settings; see what one run chooses, and name that"
            )
        demand_place(config, on_children=cell.children > 0)
        if study.metric != METRICS[0] and config.environment.solved_return is None:
            raise ConfigError(
                f"metric = {study.metric!r} is counted until solved, and nothing says what solved is: "
                "set environment.solved_return"
            )
    except ConfigError as error:
        raise ConfigError(f"{study.path}: {cell.label}: {error}") from error
    return Planned(cell, seed, study.base, settings, config, folder / f"seed-{seed}")


def _demand_alike(study: Study, runs: Sequence[Planned]) -> None:
    """Refuse cells whose returns or ends would mean something else than those of the first."""
    first = runs[0]
    alike = (("environment", "id"), ("environment", "solved_return"), ("clock", "virtual"))
    for run, (section, name) in itertools.product(runs[1:], alike):
        ours, theirs = (getattr(getattr(each.config, section), name) for each in (run, first))
        if ours != theirs:
            raise ConfigError(
                f"{study.path}: {section}.{name} cannot vary: expected {theirs!r:.60} as in {first.cell.label}, "
                f"got {ours!r:.60} in {run.cell.label}: set it in [settings], or make a study of each"
            )


def _config(base: str, settings: Mapping[str, Any], allow: Collection[str]) -> Config:
    return load_config(base, settings_from_plain(settings), allow=allow)


def _divided(keys: Collection[str], children: int, config: Config) -> dict[str, int]:
    """One child's share of each of these settings."""
    values = _flat(to_tree(config), ())
    shares = {}
    for key in keys:
        value = values.get(key)
        if type(value) is not int:
            raise ConfigError(f"divide: expected settings that are whole numbers, got {key} = {value!r:.60}")
        shares[key], rest = divmod(value, children)
        if rest:
            raise ConfigError(
                f"{key} = {value} cannot be divided by {children} children: choose a multiple, or other numbers of them"
            )
    return shares


def _as_tree(base: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the study file names, as a file of settings would have it."""
    tree: dict[str, Any] = {} if base.endswith(".toml") else {"environment": {"id": base}}
    for path, value in settings.items():
        put(tree, path, copy.deepcopy(value))  # cells share values, and a later path may lie in one
    return tree


def _demand_same(planned: Planned, run: RunFolder, allow: Collection[str]) -> None:
    wanted = to_tree(planned.config)
    try:
        found = to_tree(load_config(run.config, allow=allow, trusted=wanted))
    except MarlError as error:
        raise RunFolderError(
            f"{planned.name}: the settings in {run.path} cannot be read ({error}): put them back, or move that folder "
            "away to have the run made again"
        ) from error
    free = {*_FREE, *(() if planned.config.node.workers else ("node.workers",))}
    wanted, found = _flat(wanted, free), _flat(found, free)
    differing = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
    if not differing:
        return
    said = [f"{key} is {found.get(key)!r:.40}, the study says {wanted.get(key)!r:.40}" for key in differing]
    more = f" (and {len(said) - _MOST_DIFFERENCES} more)" if len(said) > _MOST_DIFFERENCES else ""
    raise RunFolderError(
        f"{planned.name}: {run.path} was not made with these settings: {'; '.join(said[:_MOST_DIFFERENCES])}{more}: "
        "undo the change, rename the study file or the variant, or move that folder away to have the run made again"
    )


def _flat(tree: Mapping[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Settings by their path, without those that may differ; ``repr`` makes NaN equal NaN."""
    found: dict[str, Any] = {}
    for section, value in tree.items():
        if section not in free:
            inner = value.items() if isinstance(value, dict) else [("", value)]
            found |= {f"{section}.{name}".rstrip("."): each for name, each in inner}
    return {path: value if value == value else repr(value) for path, value in found.items() if path not in free}
