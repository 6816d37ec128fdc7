"""Every file of ``tests/hostile.py`` and ``hostile_runs.py``, read as the commands read it: one line or a result, no
code, little memory.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.api import evaluate
from marl.cluster.runs.assemble import assembled
from marl.cluster.runs.prepare import prepare
from marl.cluster.runs.result import finished
from marl.cluster.runs.run import _settings
from marl.cluster.runs.watch import Run
from marl.cluster.trainers.make_trainer import on_this_machine
from marl.config.files import load_config
from marl.errors import MarlError, WeightsFileError
from marl.reports.plots.draw import learning_curve
from marl.reports.run_folder import open_run_folder
from marl.training.saved.weights_file import WeightsFile
from tests.audit import recorded
from tests.hostile import FACTS, METRICS, SETTINGS, WEIGHTS
from tests.hostile_makers import pickled, weights
from tests.hostile_runs import BEST, CHECKPOINTS, METER, STEPS, best, checkpoint

MOST_BYTES = 200_000_000  # over what the process has with a good file
Read = Callable[[Path], object]


def play(path: Path) -> None:
    evaluate(path, episodes=1)


def plot(path: Path) -> None:
    """As ``marl plot RUN``, and ``--resume``, read ``metrics.jsonl``."""
    (path.parent / "config.toml").touch()
    folder = open_run_folder(path.parent)
    metrics = folder.read_curve()
    folder.truncate_metrics(10, 10.0)
    if metrics:
        learning_curve(metrics, path.parent / "curve.png", title="")


@contextlib.contextmanager
def gone_on(folder: Path) -> Iterator[Run]:
    """A run that is ready to go on, as ``--resume`` makes it."""
    events: Any = SimpleNamespace(note=lambda text: None, on=lambda event: None)
    with contextlib.ExitStack() as stack:
        config, run_folder, resumed, _ = _settings(stack, None, {}, folder, None, (), look=False)
        assert run_folder is not None
        parts = prepare(config, on_children=False, init=None, resume=folder, resumed=resumed)
        yield stack.enter_context(assembled(config, parts, run_folder, events, on_this_machine, resumed))


def resume(path: Path) -> None:
    with gone_on(path.parent):
        pass


def recall(path: Path) -> None:
    """The checkpoint beside it is good."""
    with gone_on(path.parent) as run:
        if run.checkpoints.best is None:
            raise WeightsFileError("the next weights that are evaluated are the best")


def finish(path: Path) -> None:
    """As ``--resume`` asks whether the run has solved its environment; no file here says so and can be believed."""
    (path.parent / "config.toml").touch()
    told = WeightsFile({}, {"steps": STEPS, "updates": 1, "seconds": 1.0, "meter": METER})
    config = load_config("CartPole-v1", {"stop.steps": STEPS})
    result = finished(config, told, open_run_folder(path.parent), new_end=False)
    assert result is None or (result["reason"], result["solved"]) == ("finished", False)


KINDS: tuple[tuple[str, dict[str, Callable[[Path], object]], Read, str], ...] = (
    ("weights", WEIGHTS, play, "weights.pt"),
    ("checkpoint", CHECKPOINTS, resume, "checkpoint.pt"),
    ("best", BEST, recall, "best.pt"),
    ("settings", SETTINGS, load_config, "config.toml"),
    ("facts", FACTS, finish, "facts.json"),
    ("metrics", METRICS, plot, "metrics.jsonl"),
)
CASES = [(kind, name) for kind, cases, _, _ in KINDS for name in cases]


def line_of(kind: str, name: str, folder: Path) -> str:
    """The one line by which a file is refused; nothing where it could be read."""
    _, cases, read, file = next(each for each in KINDS if each[0] == kind)
    folder.mkdir(parents=True, exist_ok=True)
    cases[name](folder / file)
    try:
        read(folder / file)
    except MarlError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module", autouse=True)
def everything_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the first file of each kind imports is no file's doing."""
    folder = tmp_path_factory.mktemp("good")
    weights()(folder / "weights.pt")
    play(folder / "weights.pt")
    (folder / "metrics.jsonl").write_text('{"steps": 1, "seconds": 1.0, "return_mean": 1.0}\n' * 3)
    plot(folder / "metrics.jsonl")
    (folder / "facts.json").write_text('{"ended": {"reason": "steps"}}')
    finish(folder / "facts.json")
    pickled(b"\x80\x02}.")(folder / "other.pt")  # names in another encoding than torch's
    with contextlib.suppress(MarlError):
        play(folder / "other.pt")
    best(checkpoint())(folder / "best.pt")
    recall(folder / "best.pt")


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_one_line_and_no_code(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    with recorded() as events:
        line = line_of(kind, name, tmp_path / "run")
    assert line or kind in ("metrics", "facts"), "it was read"
    assert len(line) < 1_000 + len(str(tmp_path))
    assert "\n" not in line
    assert "\x1b" not in line
    # Files that Python itself makes on the way: messages of dataclasses and the like compile no text of the file.
    assert [event for event in events if not event.startswith(("import", "compile None"))] == []
    assert [name for name in set(sys.modules) - before if not name.startswith(("marl.", "torch.", "numpy."))] == []
    assert not Path("ran").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_little_memory(tmp_path: Path) -> None:
    """All of them in one process, which says how much memory each took at its peak."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "tests.cluster.runs.test_hostile_files", str(tmp_path)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    peaks = {name: int(peak) for peak, _, name in (line.partition(" ") for line in output.splitlines())}
    assert len(peaks) == len(CASES) >= 100
    assert {name: peak for name, peak in peaks.items() if peak > MOST_BYTES} == {}


def _main(folder: Path) -> None:
    weights()(folder / "good.pt")
    play(folder / "good.pt")
    best(checkpoint())(folder / "best.pt")
    recall(folder / "best.pt")
    for number, (kind, name) in enumerate(CASES):
        _, cases, read, file = next(each for each in KINDS if each[0] == kind)
        place = folder / str(number)
        place.mkdir()
        cases[name](place / file)
        base = _reset_peak()
        with contextlib.suppress(MarlError):
            read(place / file)
        sys.stdout.write(f"{_peak() - base} {kind}: {name}\n")


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
