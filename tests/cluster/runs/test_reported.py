"""What a run says of itself: speeds of each reader's own interval, the last frame, a whole curve."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from marl.cluster.find_spaces import find_spaces
from marl.cluster.fleets.cluster_settings import Cluster
from marl.cluster.runs.training import Counts
from marl.cluster.snapshot import Snapshot
from marl.cluster.trainers.parent import ParentTraining
from marl.cluster.trainers.single import SingleTraining
from marl.config.files import load_config
from marl.reports.events import Event, Progress, Status
from marl.reports.pace import Pace
from marl.reports.run_folder import RunFolder

RATE = 1000  # environment steps a second


class Run(SingleTraining):
    """A run whose clock and steps are the test's."""

    def __init__(self, folder: Path) -> None:
        config = load_config("CartPole-v1", {"seed": 1, "report.tensorboard": False})
        self.seen: list[float] = []
        self.recorded: list[float] = []
        super().__init__(config, find_spaces(config), RunFolder(folder), SimpleNamespace(on=self.hear))  # type: ignore[arg-type]
        self.checkpoints = SimpleNamespace(checkpoint=lambda snapshot, info, done: None)  # type: ignore[assignment]
        self._writer = SimpleNamespace(write=lambda path, make: path.write_bytes(make()))  # type: ignore[assignment]
        self._shown, self._recorded = Pace(), Pace()
        self.now = 0.0

    def hear(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.seen.append(event.status.steps_per_second)
        elif isinstance(event, Status):
            self.recorded.append(event.steps_per_second)

    def _seconds(self) -> float:
        return self.now

    def _counts(self) -> Counts:
        steps = np.array([int(RATE * self.now)])
        return Counts(steps, steps // 10, {}, 0)

    def _saved(self) -> dict[str, Any]:
        return {}

    def save(self) -> None:
        self._save(Snapshot({}, 0, 0))


def test_showing_and_saving_change_no_recorded_speed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for tick in range(1, 21):
        run.now = 0.1 * tick
        run._show()
        run.save()
        if tick % 10 == 0:
            run._record()
            run._show()  # a moment later, as at the end of a run
    np.testing.assert_allclose(run.recorded, [RATE, RATE])
    np.testing.assert_allclose(run.seen, RATE, rtol=1e-6)


def test_the_last_frame_and_the_last_line_have_the_last_real_speed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.now = 0.5
    run._show()
    run._ended = 0.5
    run._counts = lambda: Counts(np.array([500]), np.array([50]), {}, 0)  # type: ignore[method-assign]
    run._show()
    run._record()
    assert run.seen == [RATE, RATE]
    assert run.recorded == [RATE]


def test_a_run_of_half_a_second_leaves_a_curve(tmp_path: Path) -> None:
    """Before the first line of metrics, in 25 ticks."""
    run = Run(tmp_path)
    for tick in range(1, 26):
        run.now = 0.02 * tick
        run._add_episodes(np.full(10, float(tick)), np.full(10, 2))
    run.save()
    curve = run._folder.read_curve()
    assert len(curve) == 250
    assert (curve[-1]["steps"], curve[-1]["seconds"]) == (500, 0.5)
    assert curve[-1]["return_mean"] == np.repeat(np.arange(16.0, 26.0), 10).mean()


@pytest.mark.parametrize("ended", [False, True])
def test_a_parent_shows_its_childrens_last_rows(ended: bool, tmp_path: Path) -> None:
    """When a run has ended the children are gone, and what they did last is still worth a look."""
    config = load_config("CartPole-v1", {"seed": 1, "report.tensorboard": False})
    shown: list[Progress] = []
    events = SimpleNamespace(on=shown.append)
    parent = ParentTraining(config, find_spaces(config), RunFolder(tmp_path), events, Cluster(), None)  # type: ignore[arg-type]
    parent._started, parent._shown, parent._recorded = 0.0, Pace(), Pace()
    tally = SimpleNamespace(steps_per_second=lambda now: 700.0, return_mean=lambda: 1.0)
    counts = Counts(np.array([100]), np.array([10]), {}, 0)
    parent._child_metrics = SimpleNamespace(of=lambda node: tally, counts=lambda names: counts)  # type: ignore[assignment]
    parent._side = SimpleNamespace(members={})  # type: ignore[assignment]
    caller = SimpleNamespace(state="training", node="a", address="127.0.0.1:1", link=None, welcome=None)
    parent._callers = [caller]  # type: ignore[list-item]
    parent._show()
    caller.state, parent._ended = "left", 1.0 if ended else None
    parent._show()
    speeds = [event.status.steps_per_second for event in shown]
    states = [event.children[0].state for event in shown]
    assert (speeds, states) == (([700.0, 700.0], ["training"] * 2) if ended else ([700.0, 0.0], ["training", "left"]))
