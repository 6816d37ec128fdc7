"""``--deterministic`` with gradients: the same seed gives the same bits, after broken links, kills and resumes too."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from marl.training.saved.weights_file import read
from tests.commands import BARE, MARL, run_folder, started, succeed
from tests.faults.runs import armed
from tests.links.pairs import Proxy
from tests.slow.cluster import child, parent
from tests.slow.test_deterministic import EVALUATED, assert_same, files, wait_for_checkpoints

RUN = (
    *("--deterministic", "--seed", "3", "--steps", "6000", "--set", "exchange.name=gradients", *EVALUATED),
    *("--set", "checkpoint.every_steps=1500", "--set", "environment.per_worker=4", "--set", "stop.solved=false"),
    *("--set", "environment.normalize_observations=true", "--set", "environment.normalize_rewards=true"),
    *("--set", "evaluation.final_episodes=5"),
)
RUNS = {
    "a3c": ("--set", "exchange.codec=int8", "--set", "algorithm.schedule=linear"),
    "ppo": ("--algorithm", "ppo", "--set", "algorithm.t_max=64", "--set", "network.core=gru"),
}
DELAY_S = 0.003
CUT_AFTER = 200_000  # bytes
BROKEN = "child.applied=raise@7,child.sending.telemetry=raise@2"


def words(name: str) -> tuple[str, ...]:
    """The command of one of RUNS, on two children of this machine."""
    return (*MARL, "parent", "CartPole-v1", "--local", "2", *RUN, *RUNS[name], *BARE)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder where one of RUNS was done without any trouble."""

    @functools.cache
    def reference(name: str) -> Path:
        folder = tmp_path_factory.mktemp("reference")
        succeed(*words(name), cwd=folder)
        return folder

    return reference


@pytest.mark.slow
@pytest.mark.usefixtures("marl_home")
def test_the_same_seed_gives_the_same_bits(references: Callable[[str], Path], tmp_path: Path) -> None:
    succeed(*words("a3c"), cwd=tmp_path)
    assert_same(references("a3c"), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize(("name", "kills"), [("a3c", [2]), ("ppo", [1, 2])])
def test_killed_runs_that_are_resumed_give_the_same_bits(
    name: str, kills: list[int], references: Callable[[str], Path], tmp_path: Path
) -> None:
    """Killed as soon as the checkpoint has been replaced so often since the last start."""
    command = words(name)
    for count in kills:
        with started(*command, cwd=tmp_path) as process:
            wait_for_checkpoints(process, tmp_path, count)
            process.kill()
        command = (*MARL, "parent", "--resume", str(run_folder(tmp_path)), "--local", "2")
    succeed(*command, cwd=tmp_path)
    assert_same(references(name), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("marl_home")
def test_a_slow_link_that_breaks_again_and_again_changes_no_bit(tmp_path: Path) -> None:
    with child(tmp_path) as first, child(tmp_path) as second, armed(BROKEN), child(tmp_path) as unlucky:
        finish(tmp_path / "plain", first.address, second.address)
        with Proxy(delay=DELAY_S, cut_after=CUT_AFTER) as proxy:
            lines = finish(tmp_path / "broken", f"127.0.0.1:{proxy.towards(unlucky.port)}", second.address)
    assert sum("the child is in again" in line for line in lines) == 3
    assert_same(tmp_path / "plain", tmp_path / "broken")
    ours, theirs = (read(list(files(tmp_path / name))[1]).info for name in ("broken", "plain"))
    assert ours["version"] == theirs["version"]
    for counted in ("episodes", "returns", "lengths"):
        assert ours["meter"][counted] == theirs["meter"][counted]


@pytest.mark.slow
@pytest.mark.usefixtures("marl_home")
def test_children_that_outlive_a_parent_begin_again_with_its_checkpoint(tmp_path: Path) -> None:
    with child(tmp_path) as first, child(tmp_path) as second:
        finish(tmp_path / "plain", first.address, second.address)
        folder = tmp_path / "killed"
        folder.mkdir()
        with parent(folder, [first, second], "CartPole-v1", *RUN, *RUNS["a3c"]) as run:
            wait_for_checkpoints(run.process, folder, 2)
            run.end_hard()
        with parent(folder, [first, second], "--resume", str(run_folder(folder))) as run:
            assert run.end() == 0
        for each in (first, second):
            each.wait("its parent is back with another schedule, rank or checkpoint")
    assert_same(tmp_path / "plain", tmp_path / "killed")


def finish(folder: Path, *addresses: str) -> list[str]:
    """What a parent of these children said until its run was over."""
    folder.mkdir()
    with parent(folder, addresses, "CartPole-v1", *RUN, *RUNS["a3c"]) as run:
        assert run.end() == 0
        assert run.errors == []
        return run.lines
