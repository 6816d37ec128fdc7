from pathlib import Path
from typing import Any

import pytest

from marl.cluster.runs.resumable import demand_resumable, resumed_config
from marl.config.files import load_config, to_toml
from marl.config.settings import to_tree
from marl.errors import PluginError, WeightsFileError
from marl.reports.run_folder import RunFolder
from marl.training.saved.weights_file import WeightsFile

METER = {"returns": [1.0], "lengths": [5], "episodes": 1, "steps": 5, "updates": 1, "seconds": 1.0, "first_mean": None}
GOOD = {
    "steps": 5,
    "updates": 1,
    "seconds": 1.0,
    "meter": METER,
    "told": {"a": [5, 1, 1]},
    "limits": {"uploads": {}, "quarantined": {"a": 3}, "merged_at": {"a": 1e9}},
}


def check(**changes: Any) -> None:
    demand_resumable(WeightsFile({}, {**GOOD, **changes}, own=False), Path("latest.pt"))


def test_what_was_saved_can_be_resumed() -> None:
    check()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("told", {"a": 3}),
        ("told", {"a": ["3"]}),
        ("told", {"a": [-1]}),
        ("told", {"a": [1, 2, 3, 4]}),
        ("told", [1]),
        ("told", None),
        ("limits", []),
        ("limits", None),
        ("limits", "many"),
        ("merged", {"a": True}),
        ("meter", {**METER, "steps": 2**63}),
    ],
)
def test_what_nobody_saved_is_one_line(key: str, value: object) -> None:
    with pytest.raises(WeightsFileError, match=rf"^latest.pt is damaged: expected {key}.* to be .*, got .{{1,70}}$"):
        check(**{key: value})


def test_a_sink_in_a_strangers_run_folder_needs_leave(tmp_path: Path) -> None:
    """Although the checkpoint beside it names it too."""
    config = load_config("CartPole-v1", {"seed": 1, "report.sinks": ["events", "not_here:Tracker"]})
    folder = RunFolder(tmp_path)
    folder.config.write_text(to_toml(config))
    info = {**GOOD, "config": to_tree(config)}
    with pytest.raises(PluginError, match=r"sink 'not_here:Tracker'.*--allow not_here$"):
        resumed_config(WeightsFile({}, info, own=False), folder, {}, ())
    assert resumed_config(WeightsFile({}, info, own=True), folder, {}, ()) == config
