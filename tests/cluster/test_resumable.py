from pathlib import Path
from typing import Any

import pytest

from marl.cluster.resumable import demand_resumable
from marl.errors import WeightsFileError
from marl.training.weights_file import WeightsFile

METER = {"returns": [1.0], "lengths": [5], "episodes": 1, "steps": 5, "updates": 1, "seconds": 1.0, "first_mean": None}
GOOD = {
    "steps": 5,
    "updates": 1,
    "seconds": 1.0,
    "meter": METER,
    "told": {"a": [5, 1, 1]},
    "limits": {"uploads": {}, "left_out": {"a": 3}, "merged_at": {"a": 1e9}},
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
