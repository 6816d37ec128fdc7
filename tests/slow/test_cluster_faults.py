"""Children and parents that come late, are killed, stand still, leave, or meet others: real processes over TLS."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from marl.training.saved.weights_file import read
from tests.commands import ENDLESS, named, session, until
from tests.slow.cluster import OFTEN, child, free_ports, parent, version, wait_for_rounds

RUN = ("CartPole-v1", *ENDLESS, *OFTEN)

pytestmark = pytest.mark.usefixtures("marl_home")


@pytest.mark.slow
def test_children_that_come_late_are_killed_and_come_back(tmp_path: Path) -> None:
    """One parent through it all: whoever is there trains on, and whoever comes back is taken in."""
    ports = free_ports(2)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with parent(tmp_path, addresses, *RUN, "--wait", "60") as run:
        run.wait("children 0/2")
        with child(tmp_path, port=ports[0]) as first:
            run.wait("children 1/2")
            with child(tmp_path, port=ports[1]) as second:
                run.wait("children 2/2")
                wait_for_rounds(run, tmp_path)

                os.kill(named(first.process, "marl worker")[0], signal.SIGKILL)
                first.wait("worker 0 died .* and is started again")
                wait_for_rounds(run, tmp_path)

                heard = len(run.lines)
                kill(second.process)
                run.wait(f"^{addresses[1]}: ", after=heard)
                run.wait("children 1/2", after=heard)
                wait_for_rounds(run, tmp_path)

            heard = len(run.lines)
            with child(tmp_path, port=ports[1]) as again:
                again.wait("starts run")
                run.wait("children 2/2", after=heard)
                wait_for_rounds(run, tmp_path)
                assert run.end(signal.SIGINT) == 128 + signal.SIGINT
                first.wait("the parent has ended the run")
                again.wait("the parent has ended the run")
                assert again.end(signal.SIGTERM) == first.end(signal.SIGTERM) == 0
    assert run.errors == first.errors == again.errors == []
    assert re.match(r"Ended \(stopped\) after", run.lines[-2])
    saved = read(tmp_path / "weights.pt").info
    assert saved["steps"] > 0


@pytest.mark.slow
def test_children_that_leave(tmp_path: Path) -> None:
    """Ctrl-C at one, SIGTERM at the whole group of the other: both send STOP, and the parent says so."""
    with child(tmp_path) as first, child(tmp_path) as second, parent(tmp_path, [first, second], *RUN) as run:
        run.wait("children 2/2")
        wait_for_rounds(run, tmp_path)
        start = time.monotonic()
        assert first.end(signal.SIGINT) == 0
        assert time.monotonic() - start < 5
        run.wait(f"^{first.address}: the child has left")
        wait_for_rounds(run, tmp_path)
        os.killpg(second.process.pid, signal.SIGTERM)
        assert second.end() == 0
        run.wait(f"^{second.address}: the child has left")
        reached = version(tmp_path)
        run.wait("children 0/2")
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    assert read(tmp_path / "weights.pt").info["steps"] > 0
    assert version(tmp_path) == reached
    for each in (first, second):
        assert each.errors == []
        each.wait("is over here: this child was told to stop")


@pytest.mark.slow
def test_a_killed_parent_leaves_its_child_to_the_next(tmp_path: Path) -> None:
    """The child trains on alone for a while; meanwhile it turns another run away, and then serves it."""
    with child(tmp_path, "--orphan", "3") as only:
        with parent(folder(tmp_path, "first"), [only], *RUN) as run:
            run.wait("children 1/1")
            wait_for_rounds(run, tmp_path / "first")
            with parent(folder(tmp_path, "busy"), [only], *RUN, "--wait", "1") as second:
                assert second.end() == 1
            (line,) = second.errors
            assert line.startswith(f"Error: no child took part within 1 s (--wait): {only.address}: the child is busy")
            kill(run.process)
        only.wait("the parent is gone .*; training on alone for 3 s")
        with parent(folder(tmp_path, "next"), [only], *RUN, "--wait", "60") as run:
            only.wait("is over here: no parent for 3 s")
            run.wait("children 1/1")
            wait_for_rounds(run, tmp_path / "next")
            assert run.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert only.end(signal.SIGTERM) == 0
        assert only.errors == []


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [("fault='nan'", "observation nan is not finite"), ("fault='shape',at=500", r"got \[2\] of float32")],
)
def test_an_environment_that_breaks_on_the_child(kwargs: str, says: str, tmp_path: Path) -> None:
    """The parent says what is wrong with it, and does not try for ever; what every try would repeat, only once."""
    words = ("tests.fakes:Faulty", "--set", f"environment.kwargs={{{kwargs}}}", *ENDLESS, *OFTEN)
    with child(tmp_path, "--allow", "tests.fakes") as only, parent(tmp_path, [only], *words) as run:
        assert run.end() == 1
        (line,) = run.errors
        assert line.startswith("Error: no child can take part in this run")
        assert f"{only.address}: the child has given up: " in line
        assert re.search(says, line)
        assert "restarts" not in line
        only.wait(f"is over here: .*{says}")
        assert only.end(signal.SIGTERM) == 0


def test_an_observation_outside_its_space_is_told_at_both_ends(tmp_path: Path) -> None:
    """And it ends nothing."""
    words = ("tests.fakes:Faulty", "--set", "environment.kwargs={fault='outside',at=50}", *ENDLESS, *OFTEN)
    with child(tmp_path, "--allow", "tests.fakes") as only, parent(tmp_path, [only], *words) as run:
        run.wait(f"{only.name}: tests.fakes:Faulty: number 1 of observation is 2000000, outside its space of -1000000")
        only.wait(
            "tests.fakes:Faulty: number 1 of observation is 2000000, outside its space of -1000000 to 1000000; it"
        )
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert only.end(signal.SIGTERM) == 0


def kill(process: subprocess.Popen[str]) -> None:
    """``kill -9`` of a command; its workers, forkserver and all else end by themselves."""
    process.kill()
    process.wait()
    until(lambda: not session(process.pid), 5)


def folder(parent_folder: Path, name: str) -> Path:
    """A new folder below another."""
    made = parent_folder / name
    made.mkdir()
    return made
