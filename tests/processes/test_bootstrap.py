"""A main process of its own, since what happens to it is the subject."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# No ``if __name__ == "__main__"``: were it imported again, it would print twice.
SCRIPT = """
import os
from marl.processes.bootstrap import start_forkserver
start_forkserver()
from marl.processes.group import ProcessGroup
from tests import process_targets
print("begins", flush=True)
with ProcessGroup() as group:
    members = [group.start(f"worker {each}", process_targets.waits) for each in range(2)]
    for member in members:
        assert member.pipe.recv() == "ready"
    simulator = group.start("worker 2", process_targets.starts_a_program)
    print(*(member.process.pid for member in [*members, simulator]), simulator.pipe.recv(), flush=True)
    input()
"""


def started(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """The script and the ids of its processes."""
    script = tmp_path / "script.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SCRIPT}")
    process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begins\n"
    return process, [int(pid) for pid in process.stdout.readline().split()]


def wait_for_end(descriptors: list[int]) -> None:
    waiting = set(descriptors)
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], 20)
        assert ready, "a worker outlives its main process"
        waiting -= set(ready)


def test_a_killed_main_process_takes_its_workers_and_their_programs_with_it(tmp_path: Path) -> None:
    process, pids = started(tmp_path)
    with process:
        descriptors = [os.pidfd_open(pid) for pid in pids]
        process.send_signal(signal.SIGKILL)
        wait_for_end(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def test_a_script_without_a_main_guard_works(tmp_path: Path) -> None:
    process, pids = started(tmp_path)
    assert len(pids) == 4
    rest, _ = process.communicate("\n", timeout=20)
    assert (process.returncode, rest) == (0, "")


SPAWNED = """
import sys
from marl.processes import bootstrap
bootstrap._METHOD = "spawn"
from marl.processes.group import ProcessGroup
import slow_to_load
import signal
if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *unused: None)
    with ProcessGroup(patience=0.1, closing=0.1) as group:
        group.start("one", slow_to_load.target)
        print("started", flush=True)
        sys.stdin.readline()
"""
SLOW = """
import multiprocessing, threading
if multiprocessing.current_process().name != "MainProcess":
    print("loads", flush=True)
    threading.Event().wait()
def target(pipe): pass
"""


def test_ctrl_c_while_a_spawned_process_loads_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / "slow_to_load.py").write_text(SLOW)
    (tmp_path / "script.py").write_text(SPAWNED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = [sys.executable, str(tmp_path / "script.py")]
    with subprocess.Popen(words, env=environment, text=True, start_new_session=True, **pipes) as process:
        assert process.stdout is not None
        assert sorted([process.stdout.readline(), process.stdout.readline()]) == ["loads\n", "started\n"]
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate("\n", timeout=60)
    assert (process.returncode, err) == (0, "")


def test_multiprocessing_still_has_the_names_that_are_replaced() -> None:
    """Assigned under another name, a forkserver that was forked would be ignored, and a second one started."""
    lacking = [
        name
        for name in ("_forkserver_address", "_forkserver_alive_fd", "_forkserver_pid")
        if not hasattr(forkserver._forkserver, name)
    ]
    assert not lacking, f"this Python's forkserver has no {lacking}: mend marl/processes/bootstrap.py"
    assert isinstance(multiprocessing.current_process()._config, dict), "mend marl/processes/bootstrap.py"
