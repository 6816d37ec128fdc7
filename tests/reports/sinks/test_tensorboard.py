from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped, unused-ignore]
    EventFileLoader,
)

from marl.reports.events import Status
from marl.reports.sinks.tensorboard import TensorBoardWriter


def points(folder: Path) -> list[tuple[int, str, float]]:
    found = []
    for path in sorted(folder.iterdir()):
        for event in EventFileLoader(str(path)).Load():
            found += [(event.step, value.tag, value.tensor.float_val[0]) for value in event.summary.value]
    return found


def test_scalars_can_be_read_by_tensorboard(tmp_path: Path, status: Status) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.write(status)
    writer.write(replace(status, steps=200_000, return_mean=None))
    writer.close()
    writer.close()
    values = {(step, tag): value for step, tag, value in points(tmp_path)}
    assert values[status.steps, "return/mean"] == pytest.approx(312.4)
    assert values[status.steps, "return/length"] == 312.0
    assert values[status.steps, "speed/steps_per_second"] == 45_678.0
    assert values[status.steps, "loss/policy_loss"] == pytest.approx(-0.0123)
    assert values[status.steps, "learning/entropy"] == pytest.approx(0.61)
    assert (200_000, "return/mean") not in values
    assert (200_000, "return/length") in values


def test_a_point_can_be_seen_before_close(tmp_path: Path, status: Status) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.write(status)
    assert points(tmp_path)
    writer.close()


def test_a_resume_hides_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path, purge_steps=50)
    writer.close()
    (path,) = tmp_path.iterdir()
    starts = [event for event in EventFileLoader(str(path)).Load() if event.HasField("session_log")]
    assert [event.step for event in starts] == [51]


class FullAfter:
    """A file that takes half of every write from the third on, then is full."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.full = False

    def write(self, data: bytes) -> int:
        if self.full and len(data) < 10:
            raise OSError(28, "No space left on device")
        return int(self._file.write(data[: len(data) // 2] if self.full else data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_full_disk_costs_points_and_leaves_no_half_record(tmp_path: Path, status: Status) -> None:
    writer = TensorBoardWriter(tmp_path)
    disk = FullAfter(writer._file)
    writer._file = writer._records._writer._file = disk
    writer.write(replace(status, steps=1))
    disk.full = True
    writer.write(replace(status, steps=2))
    disk.full = False
    writer.write(replace(status, steps=3))
    writer.close()
    assert {step for step, _, _ in points(tmp_path)} == {1, 3}


def test_a_folder_that_cannot_be_made_costs_the_curves_only(tmp_path: Path, status: Status) -> None:
    (tmp_path / "file").write_text("")
    writer = TensorBoardWriter(tmp_path / "file")
    writer.write(status)
    writer.close()


def test_evaluations_and_settings_can_be_read_by_tensorboard(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata  # type: ignore[import-untyped, unused-ignore]

    writer = TensorBoardWriter(tmp_path)
    writer.write_settings({"seed": 1, "stop": {"solved": True}, "algorithm": {"name": "a|b", "hidden": [64]}, "kw": {}})
    writer.write_evaluation(5000, -200.5, 3.0)
    writer.close()
    (path,) = tmp_path.iterdir()
    values = [(event.step, value) for event in EventFileLoader(str(path)).Load() for value in event.summary.value]
    found = {value.tag: (step, value) for step, value in values}
    step, mean = found["evaluation/return_mean"]
    assert (step, mean.tensor.float_val[0]) == (5000, -200.5)
    text = found["settings"][1]
    assert text.metadata.plugin_data.plugin_name == "text"
    assert b"| algorithm.name | a\\|b |" in text.tensor.string_val[0]
    started = found[metadata.SESSION_START_INFO_TAG][1].metadata.plugin_data.content
    chosen = metadata.parse_session_start_info_plugin_data(started).hparams
    assert chosen["seed"].number_value == 1.0
    assert chosen["stop.solved"].bool_value
    assert chosen["algorithm.hidden"].string_value == "[64]"
    experiment = metadata.parse_experiment_plugin_data(found[metadata.EXPERIMENT_TAG][1].metadata.plugin_data.content)
    assert {each.name for each in experiment.hparam_infos} == {
        "seed",
        "stop.solved",
        "algorithm.name",
        "algorithm.hidden",
        "kw",
    }
