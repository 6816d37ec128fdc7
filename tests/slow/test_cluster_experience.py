"""One learner and children that only play, as real processes over TLS: killed, gone, back, resumed."""

import os
import re
import signal
from pathlib import Path

import pytest

from marl.training.saved.weights_file import read
from tests.commands import ENDLESS, MARL, PATIENCE_S, metrics, named, run_folder, session, started, until
from tests.slow.cluster import Parent, child, parent, version, wait_for_rounds

OFTEN = ("--set", "checkpoint.every_seconds=0.1")
RUN = ("CartPole-v1", "--algorithm", "impala", *ENDLESS, *OFTEN)

pytestmark = pytest.mark.usefixtures("marl_home")


def learns_on(run: Parent, folder: Path) -> None:
    """The learner makes more versions, and saves them."""
    wait_for_rounds(run, folder, 20)


@pytest.mark.slow
def test_whoever_is_killed_costs_what_it_had_in_hand(tmp_path: Path) -> None:
    """A worker, a child and the learner itself, one after another; then Ctrl-C."""
    with child(tmp_path) as first, child(tmp_path) as second, parent(tmp_path, [first, second], *RUN) as run:
        run.wait("children 2/2")
        learns_on(run, tmp_path)

        os.kill(named(first.process, "marl worker")[0], signal.SIGKILL)
        first.wait("worker 0 died .* and is started again")
        learns_on(run, tmp_path)

        learner = named(run.process, "marl learner")
        os.kill(learner[0], signal.SIGKILL)
        run.wait(r"the learner died \(killed by SIGKILL")
        learns_on(run, tmp_path)
        assert set(named(run.process, "marl learner")).isdisjoint(learner)

        heard, port = len(run.lines), second.port
        second.end_hard()
        run.wait("children 1/2", after=heard)
        learns_on(run, tmp_path)
        heard = len(run.lines)
        with child(tmp_path, port=port) as again:
            run.wait("children 2/2", after=heard)
            learns_on(run, tmp_path)
            assert run.end(signal.SIGINT) == 128 + signal.SIGINT
            for each in (first, again):
                each.wait("is over here: the parent has ended the run")
                assert each.end(signal.SIGTERM) == 0
    assert run.errors == first.errors == again.errors == []
    saved = read(tmp_path / "weights.pt")
    assert saved.info["steps"] > 0
    last = metrics(tmp_path)[-1]
    assert last["restarts"] >= 1
    assert last["metrics"]["staleness"] <= 32


@pytest.mark.slow
def test_a_killed_parent_is_resumed_with_its_children(tmp_path: Path) -> None:
    """Optimizer, version and steps go on; what children had played for the one before is used or dropped."""
    with child(tmp_path) as first, child(tmp_path) as second:
        with parent(tmp_path, [first, second], *RUN) as run:
            run.wait("children 2/2")
            learns_on(run, tmp_path)
            run.end_hard()
        first.wait("the parent is gone")
        folder = run_folder(tmp_path)
        assert folder is not None
        before = read(folder / "checkpoint.pt")
        words = ("--resume", str(folder), *OFTEN)
        with parent(tmp_path, [first, second], *words) as run:
            first.wait("is back")
            run.wait("children 2/2")
            learns_on(run, tmp_path)
            assert run.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert run.errors == []
        after = read(folder / "checkpoint.pt")
        assert after.info["epoch"] == before.info["epoch"] + 1
        assert after.info["version"] >= before.info["version"] + 20
        assert after.info["steps"] > before.info["steps"]
        assert after.info["updates"] > before.info["updates"]
        assert float(after.tensors["optimizer_steps"]) > float(before.tensors["optimizer_steps"])
        assert [first.end(signal.SIGTERM), second.end(signal.SIGTERM)] == [0, 0]
    assert first.errors == second.errors == []


@pytest.mark.slow
def test_children_whose_parent_is_gone_for_good_end_at_once(tmp_path: Path) -> None:
    """Their workers wait before full send queues."""
    with child(tmp_path) as only:
        with parent(tmp_path, [only], *RUN) as run:
            run.wait("children 1/1")
            learns_on(run, tmp_path)
            run.end_hard()
        only.wait("the parent is gone")
        assert only.end(signal.SIGTERM) == 0
    assert only.errors == []


@pytest.mark.slow
def test_normalised_observations_of_local_children(tmp_path: Path) -> None:
    words = ("Pendulum-v1", "--algorithm", "impala", "--set", "environment.normalize_observations=true")
    ends = ("--steps", "6000", "--local", "2", "--workers", "1", "--plain")
    bare = ("--set", "report.tensorboard=false", "--set", "report.pictures=false")
    with started(*MARL, "parent", *words, *ends, *bare, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        until(lambda: not session(process.pid))
    assert (process.returncode, err) == (0, "")
    assert re.search(r"^Ended \(steps\)", out, re.MULTILINE)
    folder = run_folder(tmp_path)
    assert folder is not None
    saved = read(folder / "checkpoint.pt")
    assert saved.info["version"] > 0
    seen = float(saved.tensors["normalizer"][0])
    assert 0.9 * saved.info["steps"] <= seen <= 1.1 * saved.info["steps"] + 2 * 6 * 20 * 16
    assert version(tmp_path) == saved.info["version"]
