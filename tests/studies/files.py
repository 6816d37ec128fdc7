"""Study files and finished run folders for tests: nothing of them has been trained."""

import json
from pathlib import Path
from typing import Any

import pytest

from marl.config.files import to_toml
from marl.studies import picture, statistics
from marl.studies.plan import Planned, plan
from marl.studies.study_file import read_study
from marl.training import busy_time

SMALL = """
base = "CartPole-v1"
seeds = [1, 2]

[settings]
stop.steps = 3000

[variants.slow]
algorithm.learning_rate = 1e-4

[variants.fast]
algorithm.learning_rate = 1e-2
"""


needs_clock = pytest.mark.skipif(
    not busy_time.SCHEDULED.exists(), reason="only Linux counts how long threads wait for a core"
)
VIRTUALLY = 4.0  # times as fast are finished runs that count virtual seconds


def quick(monkeypatch: pytest.MonkeyPatch, *, pictures: bool) -> None:
    """Fewer resamples, whose ends are the same for a few runs; and empty pictures, unless they are wanted."""
    monkeypatch.setattr(statistics, "RESAMPLES", 300)
    if not pictures:
        monkeypatch.setattr(picture, "draw_study", lambda unused, path, *words: path.touch())


def written(folder: Path, text: str = SMALL, name: str = "small.toml") -> Path:
    """A study file."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def planned(tmp_path: Path, text: str = SMALL) -> list[Planned]:
    """Its runs, in ``tmp_path/study``."""
    return plan(read_study(written(tmp_path, text)), tmp_path / "study", ())


def finish(
    run: Planned,
    *,
    reason: str = "steps",
    score: float | None = 100.0,
    steps: int = 3000,
    rate: float = 1000.0,
    cores: int = 2,
) -> Path:
    """The folder of this run as if it had ended so, at ``rate`` steps a second."""
    folder = run.place / "CartPole-v1-20260101-120000"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(run.config))
    evaluation = {} if score is None else {"evaluation": {"mean": score}}
    virtual = {"virtual_seconds": steps / rate / VIRTUALLY} if run.config.clock.virtual else {}
    ended = {"reason": reason, "steps": steps, "seconds": steps / rate, **virtual, **evaluation}
    (folder / "facts.json").write_text(json.dumps({"ended": ended, "hardware": {"usable_cores": cores}}))
    rows: list[dict[str, Any]] = [
        {"steps": step, "seconds": step / rate, "return_mean": step / 10, "window_filled": 50 if step < 2000 else 100}
        for step in range(500, steps + 1, 500)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "curve.jsonl").write_text(text)
    if virtual:
        rows = [{**row, "virtual_seconds": row["seconds"] / VIRTUALLY} for row in rows[1::2]]
        text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)
    return folder
