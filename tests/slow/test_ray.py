"""Children on the nodes of a real Ray cluster, and what is left there when a run has ended in whatever way."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from marl.training.saved.weights_file import read
from tests.cli.conftest import Answer
from tests.cli.test_bad_input import refused
from tests.commands import (
    BARE,
    ENDLESS,
    FACTOR,
    MARL,
    PATIENCE_S,
    learning,
    metrics,
    python,
    run_folder,
    started,
    until,
)
from tests.slow.cluster import Node
from tests.slow.ray_cluster import CORES, RayCluster, ray_cluster

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("marl_home"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the cluster's nodes have addresses of loopback"),
]

STEPS = ("--steps", "20000", "--set", "stop.solved=false", "--exchange", "weights")
INTERRUPTED = 130  # exit code
SEEN_S = 30.0 * FACTOR  # for Ray to see that a node is dead: it asks for some seconds, in vain


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with ray_cluster(tmp_path_factory.mktemp("ray")) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_left_there(cluster: RayCluster) -> Iterator[None]:
    """After each test, the cluster is as it was before it."""
    yield
    until(lambda: cluster.left() == {"actors": [], "groups": 0, "cores": 2.0 * CORES}, SEEN_S)


def words(cluster: RayCluster, *more: str) -> tuple[str, ...]:
    return (*MARL, "train", "CartPole-v1", "--ray", cluster.address, *BARE, *more)


def refuses(done: subprocess.CompletedProcess[str], *contents: str) -> None:
    refused(Answer(done.returncode, done.stdout, done.stderr), *contents)


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == INTERRUPTED


def test_a_run_trains_there_and_prints_nothing_of_rays(cluster: RayCluster, tmp_path: Path) -> None:
    done = python(*words(cluster, *STEPS, "--json"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["steps"] >= 20_000
    assert len(metrics(tmp_path)[-1]["worker_rates"]) == 2  # one on each node
    assert "starts run" in cluster.logs()  # where Ray keeps what actors print


def test_the_bits_are_those_of_children_of_this_machine(cluster: RayCluster, tmp_path: Path) -> None:
    fixed = ("--deterministic", "--seed", "3", "--steps", "4000", "--set", "stop.solved=false", "--quiet")
    fixed += ("--exchange", "weights", "--set", "exchange.every='500 steps'")
    found = []
    for where in (("--ray", cluster.address), ("--local", "2")):
        folder = tmp_path / where[0]
        folder.mkdir()
        done = python(*MARL, "train", "CartPole-v1", *where, *fixed, *BARE, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        found.append(read(folder / "weights.pt").tensors)
    there, here = found
    assert there.keys() == here.keys()
    assert all(torch.equal(there[name], here[name]) for name in here)


def test_a_node_that_dies_is_replaced(cluster: RayCluster, tmp_path: Path) -> None:
    with started(*words(cluster, *ENDLESS, "--plain", "--exchange", "weights"), cwd=tmp_path) as process:
        node = Node(process)
        node.wait("children 2/2")
        cluster.remove_node()
        node.wait("ray-[01] is gone; it comes back when Ray has a node for it")
        before = len(node.lines)
        node.wait("children 1/2", after=before)  # rounds go on
        cluster.add_node()
        node.wait("ray-[01] is back, at", after=before, seconds=SEEN_S)
        node.wait("children 2/2", after=before)
        stop(process)


def test_an_actor_that_somebody_has_killed_is_made_again(cluster: RayCluster, tmp_path: Path) -> None:
    with started(*words(cluster, *ENDLESS, "--plain", "--exchange", "weights"), cwd=tmp_path) as process:
        node = Node(process)
        node.wait("children 2/2")
        cluster.kill_actor()
        node.wait("ray-0 is gone; it comes back when Ray has a node for it")
        before = len(node.lines)
        node.wait("ray-0 is back, at", after=before)
        node.wait("children 2/2", after=before)
        stop(process)


def test_a_child_leaves_before_its_node_is_taken_away(cluster: RayCluster, tmp_path: Path) -> None:
    with started(*words(cluster, *ENDLESS, "--plain", "--exchange", "weights"), cwd=tmp_path) as process:
        node = Node(process)
        node.wait("children 2/2")
        cluster.drain_node()
        node.wait("ray-[01]: Ray takes its node away; it hands in its work, and leaves")
        before = len(node.lines)
        node.wait("children 1/2", after=before)
        cluster.remove_node()
        cluster.add_node()
        node.wait("ray-[01] is back, at", after=before, seconds=SEEN_S)
        node.wait("children 2/2", after=before)
        stop(process)


def test_more_nodes_are_taken_as_they_come(cluster: RayCluster, tmp_path: Path) -> None:
    cluster.remove_node()
    until(lambda: cluster.left()["cores"] == CORES, SEEN_S)
    settings = (*ENDLESS, "--plain", "--exchange", "weights", "--nodes", "1-2")
    with started(*words(cluster, *settings), cwd=tmp_path) as process:
        node = Node(process)
        node.wait("children 1/2")
        cluster.add_node()
        node.wait("ray-1: the Ray cluster has room for it", seconds=SEEN_S)
        node.wait("children 2/2")
        stop(process)


def test_a_killed_driver_leaves_nothing_there_and_its_run_goes_on(cluster: RayCluster, tmp_path: Path) -> None:
    often = ("--set", "checkpoint.every_seconds=0.5")
    with started(*words(cluster, *ENDLESS, *often, "--quiet", "--exchange", "weights"), cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        run = run_folder(tmp_path)
        assert run is not None
        until((run / "checkpoint.pt").exists, of=process)
        process.kill()
        process.wait()
        until(lambda: not cluster.left()["actors"], SEEN_S)
    played = metrics(tmp_path)[-1]["steps"]
    more = ("--resume", str(run), "--ray", cluster.address, "--set", f"stop.steps={played + 5000}", "--json")
    done = python(*MARL, "train", *more, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["steps"] >= played + 5000


@pytest.mark.parametrize(
    ("more", "contents"),
    [
        ("--nodes 3 --cores-per-node 2", ["room for 3 of 2 CPU", "free are", "2 CPU;", "--nodes"]),
        ("--nodes 3 --cores-per-node 1 --ray-spread STRICT_SPREAD", ["room for 3 of 1 CPU", "node of its own"]),
        ("--nodes 1 --ray-label zone=far", ["room for 1 of 2 CPU, zone=far", "free are"]),
        ("--cores-per-node 9", ["a node with 9 CPU", "2 CPU"]),
        ('--ray-env {"pip":3}', ["--ray-env"]),
        ('--ray-env {"working_dir":"/nowhere"}', ["--ray-env", "/nowhere"]),
        ("--gpus 1", ["1 GPU", "2 CPU"]),
        ("--ray-resource tape=2", ["2 tape", "2 CPU"]),
    ],
)
def test_too_small_a_cluster(more: str, contents: list[str], cluster: RayCluster, tmp_path: Path) -> None:
    refuses(python(*words(cluster, "--ray-wait", "1", "--quiet", *more.split()), cwd=tmp_path), "--ray", *contents)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_room(number: int, cluster: RayCluster, tmp_path: Path) -> None:
    with started(*words(cluster, "--plain", "--nodes", "3", "--exchange", "weights"), cwd=tmp_path) as process:
        Node(process).wait("waiting at most 60 s for 3 of 2 CPU")
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number


def test_a_node_with_another_version(cluster: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "newer.py").write_text(
        "import sys, marl\nmarl.__version__ = '99.0'\nfrom marl.cli.main import main\nmain()\n"
    )
    done = python(str(tmp_path / "newer.py"), *words(cluster, "--quiet")[2:], cwd=tmp_path)
    refuses(done, "marl 99.0 on each node", "0.1.0 here")


def test_an_environment_that_the_nodes_cannot_import(
    cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corridor_of_mine.py").write_text(
        "import os\nimport gymnasium\n\n"
        "if 'MINE' not in os.environ:\n    raise ImportError('no game is installed here')\n\n"
        "def make(**unused):\n    return gymnasium.make('CartPole-v1')\n"
    )
    monkeypatch.setenv("MINE", "here")  # not at the nodes, which are older
    named = (*MARL, "train", "corridor_of_mine:make", "--ray", cluster.address, *BARE, "--quiet", "--nodes", "1")
    refuses(python(*named, *STEPS, cwd=tmp_path), "corridor_of_mine", "no game is installed here")
    there = ("--ray-env", json.dumps({"env_vars": {"MINE": "there"}}))
    done = python(*named, *STEPS, *there, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_detached_run_goes_on_and_is_shown_and_ended(cluster: RayCluster, tmp_path: Path) -> None:
    there = ("--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "weights.pt"), "--cores-per-node", "1")
    done = python(*words(cluster, *ENDLESS, *there, "--detach"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    name = re.search(r"marl attach (\S+) shows it", done.stdout)
    assert name, done.stdout
    until(learning(tmp_path))  # nobody looks
    show = (*MARL, "attach", "--ray", cluster.address)
    with started(*show, cwd=tmp_path) as process:
        Node(process).wait("children 2/2")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    refuses(python(*show, "another", cwd=tmp_path), "got another", name[1])
    ended = python(*show, name[1], "--stop", cwd=tmp_path)
    assert ended.returncode == 0
    assert "Ended (stopped)" in ended.stdout
    assert (tmp_path / "weights.pt").is_file()
    refuses(python(*show, cwd=tmp_path), "there is none", "--detach")


def test_a_detached_run_that_cannot_begin(cluster: RayCluster, tmp_path: Path) -> None:
    named = (*MARL, "train", "CartPol-v1", "--ray", cluster.address, "--detach")
    refuses(python(*named, cwd=tmp_path), "no environment named 'CartPol-v1'")


def test_a_run_whose_cluster_is_lost_is_saved_and_ends(tmp_path: Path) -> None:
    """Before Ray ends the process, a minute later."""
    (tmp_path / "ray").mkdir()
    with ray_cluster(tmp_path / "ray") as another:
        with started(*words(another, *ENDLESS, "--quiet", "--exchange", "weights"), cwd=tmp_path) as process:
            until(learning(tmp_path), of=process)
            another.end_hard()
            _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        assert "the Ray cluster has not answered for 25 s; what was learned is saved" in said
        assert "Traceback" not in said
    run = run_folder(tmp_path)
    assert run is not None
    more = (
        "--resume",
        str(run),
        "--local",
        "1",
        "--set",
        f"stop.steps={metrics(tmp_path)[-1]['steps'] + 1000}",
        "--quiet",
    )
    done = python(*MARL, "train", *more, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
