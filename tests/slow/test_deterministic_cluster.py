"""``--deterministic`` on children: one seed, one result, bit for bit, whatever the network does to a run."""

from pathlib import Path

import pytest

from marl.training.saved.weights_file import read
from tests.faults.runs import armed
from tests.links.pairs import Proxy
from tests.slow.cluster import child, parent
from tests.slow.test_deterministic import EVALUATED, assert_same, files

ROUNDS = 6
RUN = (
    *("CartPole-v1", "--deterministic", "--seed", "3", "--steps", "19000", "--set", "exchange.every='1600 steps'"),
    *("--set", "exchange.codec=int8", "--set", "stop.solved=false", *EVALUATED),
    # Statistics of both kinds: those that children have in common, and those that stay on each.
    *("--set", "environment.normalize_observations=true", "--set", "environment.normalize_rewards=true"),
)
DELAY_S = 0.03
CUT_AFTER = 50_000  # bytes: in the first round, all weights are 36,620
BROKEN = "child.applied=raise@3,child.sending.telemetry=raise@4"  # while workers play; a report is lost


@pytest.mark.slow
@pytest.mark.usefixtures("marl_home")
def test_a_slow_link_that_breaks_again_and_again_changes_no_bit(tmp_path: Path) -> None:
    """It is the first child's: the other's uploads come before their turn."""
    with child(tmp_path) as first, child(tmp_path) as second, armed(BROKEN), child(tmp_path) as unlucky:
        finish(tmp_path / "plain", first.address, second.address)
        with Proxy(delay=DELAY_S, cut_after=CUT_AFTER) as proxy:
            lines = finish(tmp_path / "broken", f"127.0.0.1:{proxy.towards(unlucky.port)}", second.address)
    assert sum("the child is in again" in line for line in lines) == 3
    assert_same(tmp_path / "plain", tmp_path / "broken")
    ours, theirs = (read(list(files(tmp_path / name))[1]).info for name in ("broken", "plain"))
    assert ours["version"] == theirs["version"] == ROUNDS
    for counted in ("episodes", "returns", "lengths"):
        assert ours["meter"][counted] == theirs["meter"][counted]


def finish(folder: Path, *addresses: str) -> list[str]:
    """What a parent of these children said until its run was over."""
    folder.mkdir()
    with parent(folder, addresses, *RUN) as run:
        assert run.end() == 0
        assert run.errors == []
        return run.lines
