"""``--deterministic``: a machine's circumstances change no bit; one seed is trained under each, and hashes compared."""

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from marl.api import train
from marl.training.saved.weights_file import read
from tests.commands import PATIENCE_S, ROOT

# Networks as wide as 64: up to 32, decompositions are the same with any number of threads.
PROGRAM = """
import hashlib, os, sys
method, cores, torch_first, children = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
if torch_first == "True":
    import torch
from marl.api import Cluster, evaluate, load, train
from marl.processes import bootstrap
bootstrap._METHOD = method
settings = {
    "seed": 7, "deterministic": True, "stop.steps": 4000, "stop.solved": False, "network.hidden": [64, 64],
    "environment.normalize_observations": True, "evaluation.episodes": 3, "evaluation.greedy": False,
    "checkpoint.every_steps": 2000, "report.tensorboard": False, "report.pictures": False,
}
cluster = Cluster(local=int(children)) if int(children) else None
if cluster:
    settings |= {"exchange.every": "1600 steps", "exchange.codec": "int8"}
result = train("CartPole-v1", settings=settings, live=False, cluster=cluster)
from marl.training.saved.weights_file import read
tensors = read(result.weights).tensors
data = b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))
returns = evaluate(result.weights, episodes=3).returns
print(hashlib.sha256(data + returns.tobytes()).hexdigest())
"""


class Machine(NamedTuple):
    """What a run must not depend on."""

    method: str = "forkserver"
    threads: str = ""  # OMP_NUM_THREADS
    cores: int = 1
    torch_first: bool = False
    folder: str = "here"
    hash_seed: str = "0"
    children: int = 0  # that share the work; they have the same threads and cores


ELSEWHERE = Machine("spawn", "2", 2, True, "another folder", "1")
# Every pair of circumstances meets in one of these.
MACHINES = [
    Machine("forkserver", "", 2, True),
    Machine("forkserver", "1", 1, True),
    Machine("forkserver", "2", 2, False),
    Machine("spawn", "", 1, False),
    Machine("spawn", "1", 2, False),
    Machine("spawn", "2", 1, True),
]
MACHINES += [Machine(folder="another folder"), Machine(hash_seed="1"), Machine(hash_seed="random"), ELSEWHERE]
MACHINES += [ELSEWHERE._replace(children=2)]


@pytest.fixture(scope="module")
def hash_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Machine], str]:
    """The hash of what a run there leads to."""

    @functools.cache
    def trained(machine: Machine) -> str:
        folder = tmp_path_factory.mktemp("machine") / machine.folder
        folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": machine.hash_seed}
        environment.pop("OMP_NUM_THREADS", None)
        if machine.threads:
            environment["OMP_NUM_THREADS"] = machine.threads
        words = (machine.method, str(machine.cores), str(machine.torch_first), str(machine.children))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return trained


@pytest.mark.parametrize("machine", MACHINES, ids=str)
@pytest.mark.slow  # a run each
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen as on Linux")
def test_no_machine_changes_a_bit(hash_of: Callable[[Machine], str], machine: Machine) -> None:
    assert hash_of(machine) == hash_of(Machine(children=machine.children))


def test_the_threads_of_the_users_program_change_no_bit(tmp_path: Path) -> None:
    def trained(threads: int) -> str:
        torch.set_num_threads(threads)
        settings = {"seed": 7, "deterministic": True, "stop.steps": 640, "stop.solved": False}
        settings |= {"network.hidden": [64, 64], "evaluation.episodes": 0, "report.runs": str(tmp_path)}
        settings |= {"report.tensorboard": False, "report.pictures": False}
        result = train("CartPole-v1", settings=settings, out=tmp_path / "weights.pt", live=False)
        assert torch.get_num_threads() == threads
        return hash_of_weights(result.weights)

    before = torch.get_num_threads()
    try:
        assert trained(2) == trained(1)
    finally:
        torch.set_num_threads(before)


def hash_of_weights(file: Path) -> str:
    tensors = read(file).tensors
    return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()
