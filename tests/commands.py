"""Real commands as processes of their own: started, watched through /proc, signalled, and never left behind.

Each command leads a session, so that its workers, its forkserver and whatever else it starts are found by the number
of that session, even when the command itself is gone.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent


def busy() -> float:
    """How many programs want each core just now, at least 1: promises are for a machine that does nothing else."""
    load: float = os.getloadavg()[0] if hasattr(os, "getloadavg") else 1.0
    return max(1.0, load / (os.cpu_count() or 1))


FACTOR = max(busy(), float(os.environ.get("MARL_TEST_TIME_FACTOR", "1")))  # more on a slow or busy machine
PATIENCE_S = 60 * FACTOR  # for what must happen some time
STOP_S = 3 * FACTOR  # for what must happen promptly

MARL = ("-m", "marl")
SINGLE_MACHINE = (str(ROOT / "a3c_single_machine.py"),)
TEST_ENV = (str(ROOT / "test_env.py"),)

# Nothing that a test does not look at.
BARE = (
    *("--set", "report.tensorboard=false", "--set", "report.pictures=false", "--set", "report.every_seconds=0.05"),
    *("--set", "evaluation.final_episodes=0"),
)
ENDLESS = ("--minutes", "5", "--set", "stop.solved=false")


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python WORDS`` to its end."""
    with started(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def succeed(*words: str, cwd: Path) -> str:
    """What ``python WORDS`` printed; it must end well and without a word on standard error."""
    done = python(*words, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@contextmanager
def started(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """``python WORDS`` while it runs; what is left of its session at the end is killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in session(process.pid):
            with _gone_is_fine():
                os.kill(pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def until(condition: Callable[[], T], seconds: float = PATIENCE_S, of: subprocess.Popen[str] | None = None) -> T:
    """The first true answer, asked for again and again where nothing announces it; ``of`` has to live."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert of is None or of.poll() is None, of.communicate()
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)  # looking costs what the processes that are looked at need
    return answer


def session(leader: int) -> dict[int, str]:
    """Names by id of the living processes of a session."""
    names = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with _gone_is_fine():
                name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
                state, _, _, its_session = rest.split()[:4]
                if int(its_session) == leader and state not in "ZX":
                    names[int(folder.name)] = name
    return names


def named(process: subprocess.Popen[str], beginning: str) -> list[int]:
    """Ids of a command's processes whose name begins so, such as "marl worker"."""
    return [pid for pid, name in session(process.pid).items() if name.startswith(beginning)]


def nothing_left(process: subprocess.Popen[str]) -> None:
    """The command's whole session ends promptly."""
    until(lambda: not session(process.pid), STOP_S)


def ownerless_memory() -> set[str]:
    """Names of shared memory that no living process has mapped: what was left behind, whoever else uses some."""
    used: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # it has ended meanwhile, or is somebody else's
            used |= set(re.findall(r"/dev/shm/(\S+)", maps.read_text()))
    return set(os.listdir("/dev/shm")) - used


def end_of(process: subprocess.Popen[str], seconds: float = STOP_S) -> tuple[str, str]:
    """What a command printed, once it and all that holds its output have ended: within so many seconds, not counting
    those in which its session had work to do and stood in line for a core, since others used it.
    """
    waited: dict[str, float] = {}
    before = _in_line(process.pid)
    start = time.monotonic()
    while True:
        try:
            out, err = process.communicate(timeout=0.05)
            break
        except subprocess.TimeoutExpired:
            now = _in_line(process.pid)
            waited |= {task: now[task] - before.get(task, 0.0) for task in now}
            assert time.monotonic() - start < seconds + min(sum(waited.values()), PATIENCE_S), session(process.pid)
    return out, err


def _in_line(leader: int) -> dict[str, float]:
    """Seconds that each living thread of a session has waited for a core; {} where the system does not tell."""
    seconds = {}
    for pid in session(leader):
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has just ended
                seconds[str(task)] = int(task.read_text().split()[1]) / 1e9
    return seconds


def run_folder(folder: Path) -> Path | None:
    """The only run below ``folder``."""
    runs = [path.parent for path in folder.glob("runs/*/config.toml")]
    assert len(runs) <= 1, runs
    return runs[0] if runs else None


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of the only run's metrics."""
    run = run_folder(folder)
    file = run / "metrics.jsonl" if run else None
    if file is None or not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def learning(folder: Path) -> Callable[[], bool]:
    """Whether the only run below ``folder`` has written that it learns."""
    return lambda: any(line["updates"] > 0 for line in metrics(folder))


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    with suppress(FileNotFoundError, ProcessLookupError):
        yield
