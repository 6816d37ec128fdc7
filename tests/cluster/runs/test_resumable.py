import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.cluster.runs.resumable import demand_resumable, resumed_config
from marl.config.files import load_config, to_toml
from marl.config.settings import to_tree
from marl.data.stored import as_plain
from marl.errors import PluginError, WeightsFileError
from marl.reports.meter import Meter
from marl.reports.run_folder import RunFolder
from marl.training.saved.weights_file import WeightsFile
from tests.plain_spaces import plain_spaces

METER = {"returns": [1.0], "lengths": [5], "episodes": 1, "steps": 5, "updates": 1, "seconds": 1.0, "first_mean": None}
GOOD = {
    "spaces": as_plain(plain_spaces((4,), num_actions=2)),
    "steps": 5,
    "updates": 1,
    "seconds": 1.0,
    "meter": METER,
    "told": {"a": [5, 1, 1]},
    "reference": [300.0, 0.9],
    "limits": {"uploads": {}, "quarantined": {"a": 3}, "merged_at": {"a": 1e9}},
}

POINT = [5, 1.0, 0.5, 0.1]
CURVES: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "no spacing": {"points": []},
    "no points": {"spacing": 1},
    "a spacing of nothing": {"spacing": 0, "points": [POINT] * 400},
    "a spacing that goes back": {"spacing": -1, "points": [POINT]},
    "a spacing of text": {"spacing": "1", "points": [POINT]},
    "half a spacing": {"spacing": 0.5, "points": [POINT]},
    "a spacing that is true": {"spacing": True, "points": [POINT]},
    "an endless spacing": {"spacing": math.inf, "points": [POINT]},
    "points of text": {"spacing": 1, "points": "many"},
    "a point of text": {"spacing": 1, "points": ["abcd"]},
    "a number of text": {"spacing": 1, "points": [[5, 1.0, "0.5", 0.1]]},
    "too many points": {"spacing": 1, "points": [POINT] * 401},
    "a short point": {"spacing": 1, "points": [POINT[:3]]},
    "a long point": {"spacing": 1, "points": [[*POINT, 1.0]]},
    "steps that are no count": {"spacing": 1, "points": [[5.5, 1.0, 0.5, 0.1]]},
    "steps below nothing": {"spacing": 1, "points": [[-5, 1.0, 0.5, 0.1]]},
    "seconds without end": {"spacing": 1, "points": [[5, math.inf, 0.5, 0.1]]},
    "a return within a return": {"spacing": 1, "points": [[5, 1.0, [0.5], 0.1]]},
}


def check(**changes: Any) -> None:
    demand_resumable(WeightsFile({}, {**GOOD, **changes}, own=False), Path("latest.pt"))


def test_what_was_saved_can_be_resumed() -> None:
    check()


@pytest.mark.parametrize("returned", [1.5, math.inf, math.nan])
def test_whatever_a_meter_saves_can_be_resumed(returned: float) -> None:
    """Also what an environment should not return."""
    meter = Meter()
    with np.errstate(invalid="ignore"):
        meter.add_episodes(np.array([1.0, returned]), np.array([5, 7]), steps=12, seconds=1.0)
    meter.update(1.0, np.array([12]), np.array([1]), {}, 0)
    state = json.loads(json.dumps(meter.state()))
    assert len(state["curve"]["points"]) == 2
    check(meter=state)


@pytest.mark.parametrize("steps", [0, 5, 2**63 - 1])
@pytest.mark.parametrize("spacing", [1, 2**63 - 1])
def test_a_curve_that_passes_goes_on(spacing: int, steps: int) -> None:
    """However absurd it is: the spacing grows until the next point finds room."""
    state = {**METER, "curve": {"spacing": spacing, "points": [[steps, 1.0, 0.5, 0.1]] * 400}}
    check(meter=state)
    meter = Meter()
    meter.restore(state)
    for _ in range(2):
        meter.add_episodes(np.ones(900), np.ones(900), steps=2**62, seconds=1.0)
    assert 1 <= len(meter.curve.points) <= 400


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("told", {"a": 3}),
        ("told", {"a": ["3"]}),
        ("told", {"a": [-1]}),
        ("told", {"a": [1, 2, 3, 4]}),
        ("told", [1]),
        ("told", None),
        ("reference", None),
        ("reference", [1.0]),
        ("reference", [1.0, 0.0]),
        ("reference", [1.0, "1"]),
        ("reference", [math.inf, 1.0]),
        ("limits", []),
        ("limits", None),
        ("limits", "many"),
        ("merged", {"a": True}),
        ("meter", {**METER, "steps": 2**63}),
        ("meter", {**METER, "returns": ["1"]}),
        ("meter", {**METER, "returns": [None]}),
        ("meter", {**METER, "returns": [1.0] * 10_001}),
        ("meter", {**METER, "lengths": [0.5]}),
        ("meter", {**METER, "lengths": [-1]}),
        ("meter", {**METER, "episodes": "1"}),
        ("meter", {**METER, "seconds": -1.0}),
        ("meter", {**METER, "seconds": math.inf}),
        ("meter", {**METER, "first_mean": math.nan}),
        ("meter", {**METER, "first_mean": 2**70}),
        ("seconds", math.nan),
        *(("meter", {**METER, "curve": curve}) for curve in CURVES.values()),
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
