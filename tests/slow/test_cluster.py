"""Parents and children as real processes that speak over TLS: what a run on several machines is made of."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from marl.training.saved.weights_file import read
from tests.commands import BARE, ENDLESS, MARL, PATIENCE_S, ROOT, run_folder, session, started, succeed, until
from tests.slow.cluster import OFTEN, Child, Node, child, parent

CHILDREN = ("--allow", "tests.fakes")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A MARL_HOME for the two children and their parents."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("MARL_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def children(home: Path) -> Iterator[list[Child]]:
    """Two children who serve one parent after another; in the end a signal is enough."""
    script = (str(ROOT / "init_child.py"),)
    with child(home, *CHILDREN, program=script) as first, child(home, *CHILDREN) as second:
        yield [first, second]
        assert [first.end(signal.SIGTERM), second.end(signal.SIGINT)] == [0, 0]
        assert (first.errors, second.errors) == ([], [])


@pytest.mark.slow
def test_two_children_solve_cart_pole(children: list[Child], tmp_path: Path) -> None:
    script = (str(ROOT / "init_parent.py"),)
    with parent(tmp_path, children, "--seed", "1", *OFTEN, program=script) as run:
        assert run.end() == 0
        assert run.errors == []
    assert re.match(r"Solved after .* of training, not evaluated \(evaluation.final_episodes is 0\)\.$", run.lines[-2])
    assert "children 2/2  version" in run.lines[-3]
    for each in children:
        each.wait(r"run \S+ is over here: the parent has ended the run")
    evaluated = json.loads(succeed(*MARL, "evaluate", "--json", cwd=tmp_path))
    assert evaluated["mean"] >= 475


def test_the_same_children_serve_the_next_run(children: list[Child], tmp_path: Path) -> None:
    """The textbook form, on an environment of the user's own; a step limit ends it, and JSON tells how."""
    textbook = ("--set", "exchange.barrier=true", "--set", "exchange.every='1 episode'")
    before = [len(each.lines) for each in children]
    words = ("parent", "tests.fakes:counting", "--steps", "20000", "--json", *textbook, *BARE)
    out = succeed(*MARL, *words, "-ip", *(each.address for each in children), cwd=tmp_path)
    result = json.loads(out)
    assert (result["reason"], result["solved"]) == ("steps", False)
    assert result["steps"] >= 20000
    assert result["updates"] > 0
    assert result["episodes"] > 0
    saved = read(tmp_path / "weights.pt")
    assert saved.info["steps"] >= 20000
    for each, position in zip(children, before, strict=True):
        each.wait(r"starts run \S+: tests.fakes:counting", after=position)
        each.wait("is over here: the parent has ended the run", after=position)


def test_small_messages_and_normalised_observations(children: list[Child], tmp_path: Path) -> None:
    small = ("--set", "exchange.codec=int8", "--set", "environment.normalize_observations=true")
    with parent(tmp_path, children, "CartPole-v1", "--steps", "20000", *small, *OFTEN) as run:
        assert run.end() == 0
    assert run.errors == []
    folder = run_folder(tmp_path)
    assert folder is not None
    checkpoint = read(folder / "checkpoint.pt")
    assert checkpoint.info["version"] > 0
    assert "error" in checkpoint.tensors  # of what was rounded on the way down
    count = float(checkpoint.tensors["observations"].flatten()[0])
    # An upload is folded into the statistics before its steps are counted: some of each child may be under way.
    assert 0 < count <= 1.25 * checkpoint.info["steps"]
    assert "normalizer" in read(tmp_path / "weights.pt").tensors


def test_local_children_come_and_go_with_the_run(tmp_path: Path, marl_home: Path) -> None:
    words = ("parent", "CartPole-v1", "--local", "2", "--workers", "1", "--steps", "20000", "--plain", *OFTEN, *BARE)
    with started(*MARL, *words, cwd=tmp_path) as process:
        local = until(lambda: two(offspring(process.pid)), of=process)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert "children 2/2" in out
    assert "Ended (steps)" in out
    until(lambda: not any(session(pid) for pid in local))
    # Their key is theirs alone; the user's own is for what this machine writes.
    assert [file.name for file in marl_home.iterdir()] == ["seal.key"]


@pytest.mark.slow
def test_an_impatient_user_loses_no_words_and_leaves_no_key(
    tmp_path: Path, marl_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C again and again, until the words at the end of the run are there; the children end meanwhile."""
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    words = ("parent", "CartPole-v1", "--local", "2", "--workers", "1", "--plain", *ENDLESS, *OFTEN, *BARE)
    with started(*MARL, *words, cwd=tmp_path) as process:
        run = Node(process)
        run.wait("children 2/2")
        while process.poll() is None and not any("the policy is in" in line for line in run.lines):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        assert run.end() == 130
    assert re.match(r"Ended \(stopped\) after .*", run.lines[-2]), run.lines
    assert "the policy is in weights.pt" in run.lines[-1]
    assert list(folder.iterdir()) == []


def offspring(pid: int) -> list[int]:
    """Leaders of the sessions that a process, or another of its own session, has started."""
    found, parents = [], session(pid)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) in parents and int(fields[3]) == int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def two(found: list[int]) -> list[int]:
    """``found``, once there are two."""
    return found if len(found) == 2 else []
