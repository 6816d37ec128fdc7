"""What every test gets: a home folder of its own, and an end of session that finds whatever outlived it."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import pytest

# Inherited by every process that the tests start, so that even orphans are known as ours.
SESSION = "MARL_TEST_SESSION"
GRACE_S = 5.0


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail when a process or a non-daemon thread of ours outlives the session, and end such a process."""
    mark = uuid.uuid4().hex
    os.environ[SESSION] = mark
    yield
    left = _wait_for_none(mark)
    for process in left:
        os.kill(process, signal.SIGKILL)
    threads = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon
    ]
    assert not left, f"processes outlived the tests: {left}"
    assert not threads, f"threads outlived the tests: {threads}"


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> None:
    """Who starts the tests with nohup, or from a job that has lost its terminal, hands down an ignored SIGHUP."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A MARL_HOME that is nobody's real one, for tests that do not care which."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("MARL_HOME", str(home))
        yield home


@pytest.fixture
def marl_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A MARL_HOME of this test's own, empty."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("MARL_HOME", str(home))
    return home


def _wait_for_none(mark: str) -> dict[int, str]:
    """Our processes that are left, as id: command line, after a grace for those about to end."""
    deadline = time.monotonic() + GRACE_S
    while (left := _ours(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _ours(mark: str) -> dict[int, str]:
    if not Path("/proc/self/environ").exists():
        return {}
    # Python's own: they end with this process.
    spared = {os.getpid(), forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid}
    wanted = f"{SESSION}={mark}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in spared:
            continue
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            # A forked child shows the environment of before the mark was set: its parent gives it away.
            ours = int(status[1]) == os.getpid() or wanted in (folder / "environ").read_bytes().split(b"\0")
            if ours and status[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it ended while we looked, or is not ours to read
            continue
    return found
