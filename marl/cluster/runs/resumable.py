"""Whether a run can go on from its checkpoint, and with which settings."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marl.cluster.runs.checkpoint_manager import latest_checkpoint
from marl.cluster.runs.restore import config_of, demand_statistics, spaces_of
from marl.config.files import load_config
from marl.config.settings import Config, to_tree
from marl.data.stored import is_count
from marl.errors import ConfigError, RunFolderError, WeightsFileError
from marl.exchanges.run import replay_ratio
from marl.reports.plots.curve import MOST as MOST_POINTS
from marl.reports.plots.curve import Point
from marl.reports.run_folder import RunFolder
from marl.training.saved.weights_file import WeightsFile

MOST_LISTED = 10_000  # episodes that a meter remembers: far more than any window

_Check = Callable[[Any], bool]


def _is_real(value: Any) -> bool:
    """A number, NaN and infinity included: an environment may return these."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def _is_number(value: Any) -> bool:
    return _is_real(value) and math.isfinite(value)


def _are_seconds(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_reference(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(each) and each > 0 for each in value)


def _list_of(check: _Check, most: int = MOST_LISTED) -> _Check:
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(check, value))


def _is_point(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != len(Point._fields):
        return False
    steps, seconds, *returns = value
    return is_count(steps) and _are_seconds(seconds) and all(map(_is_real, returns))


def _is_curve(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and is_count(value.get("spacing"))
        and value["spacing"] >= 1
        and _list_of(_is_point, MOST_POINTS)(value.get("points"))
    )


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 200


def _table_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, Mapping) and all(check(each) for each in value.values())


_METER: dict[str, tuple[_Check, str]] = {
    "returns": (_list_of(_is_real), "a list of numbers"),
    "lengths": (_list_of(is_count), "a list of counts"),
    "episodes": (is_count, "a count"),
    "steps": (is_count, "a count"),
    "updates": (is_count, "a count"),
    "seconds": (_are_seconds, "seconds"),
    "first_mean": (lambda value: value is None or _is_number(value), "a number, or nothing"),
}
_SOMETIMES_METER: dict[str, tuple[_Check, str]] = {
    "curve": (_is_curve, f"a spacing of at least 1, and at most {MOST_POINTS} points"),  # earlier versions saved none
}
_ALWAYS: dict[str, tuple[_Check, str]] = {
    "steps": (is_count, "a count"),
    "updates": (is_count, "a count"),
    "seconds": (_are_seconds, "seconds"),
}
_SOMETIMES: dict[str, tuple[_Check, str]] = {
    "segment": (is_count, "a count"),
    "epoch": (is_count, "a count"),
    "version": (is_count, "a count"),
    "best_mean": (lambda value: value is None or _is_number(value), "a number, or nothing"),
    "run_id": (_is_short, "a name"),
    "merged": (_table_of(is_count), "counts"),
    "instances": (_table_of(_is_short), "names"),
    "told": (_table_of(_list_of(is_count, 3)), "what children had told"),
    "reference": (_is_reference, "steps a second, and the share of them that counts"),
    "limits": (lambda value: isinstance(value, Mapping), "what is usual"),
}


def demand_resumable(file: WeightsFile, path: Path) -> None:
    """Refuse a checkpoint that nothing can go on from.

    Raises:
        WeightsFileError: a number is missing or impossible, or the statistics are impossible.
    """
    demand_statistics(file, spaces_of(file, path), path)
    meter = file.info.get("meter")
    if meter is None:  # weights, but no checkpoint: ``resumed_config`` refuses them
        return
    if not isinstance(meter, Mapping):
        raise _damaged(path, "meter", "counts", meter)
    for where, table, always, sometimes in (
        ("", file.info, _ALWAYS, _SOMETIMES),
        ("meter.", meter, _METER, _SOMETIMES_METER),
    ):
        for key, (check, expected) in {**always, **sometimes}.items():
            if (key in always or key in table) and not check(table.get(key)):
                raise _damaged(path, where + key, expected, table.get(key))


def resumed_config(resumed: WeightsFile, folder: RunFolder, settings: dict[str, Any], allow: tuple[str, ...]) -> Config:
    """The settings of the resumed run. Only those about its end, reports and processes may change.

    Raises:
        ConfigError: others would change.
        RunFolderError: there is no checkpoint.
    """
    for key in settings:
        if not key.startswith(("stop.", "report.", "node.", "checkpoint.", "evaluation.")):
            raise ConfigError(
                f"--resume goes on with a run as it was: {key} cannot change (stop.*, node.*, report.* can); "
                "--init starts a new run from its weights"
            )
    if "meter" not in resumed.info:
        raise RunFolderError(f"{folder.path} holds weights but no checkpoint to go on from: use --init")
    before = config_of(resumed, latest_checkpoint(folder), allow)
    trusted = dict(resumed.info["config"])
    if not resumed.own:
        trusted.pop("report", None)  # ``config_of`` has not checked this section
    now = load_config(folder.config, settings, allow=allow, trusted=trusted)
    written = to_tree(before), to_tree(now)  # in this form, NaN equals NaN
    for each in (
        "seed",
        "deterministic",
        "environment",
        "network",
        "exploration",
        "algorithm",
        "optimizer",
        "replay",
        "exchange",
    ):
        if written[0].get(each) != written[1].get(each):
            raise ConfigError(
                f"{folder.config}: {each} is not what the run was started with: undo the change; "
                "--init starts a new run from its weights"
            )
    if now.deterministic and replay_ratio(now):
        raise ConfigError(
            f"{folder.path} cannot go on with the same bits, since a replay is not saved: train from the start with "
            f"--seed {now.seed}, or --init starts a new run from its weights"
        )
    return now


def demand_same_kind(resumed: WeightsFile, folder: RunFolder, on_children: bool) -> None:
    """Refuse to resume a run of one machine on children, or a run of children on one machine.

    Raises:
        ConfigError: the kinds differ.
    """
    if ("run_id" in resumed.info) != on_children:
        before, command = ("children", "marl parent") if not on_children else ("this machine alone", "marl train")
        raise ConfigError(
            f"{folder.path} was trained on {before}: go on with {command} --resume, or start a new run with --init"
        )


def _damaged(path: Path, key: str, expected: str, came: object) -> WeightsFileError:
    return WeightsFileError(f"{path} is damaged: expected {key} to be {expected}, got {came!r:.60}")
