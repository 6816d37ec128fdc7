"""Strangers by the hundred at a child that trains: they cost it nothing that it needs."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from benchmarks.strangers import ADDRESSES, Strangers, knock
from marl.links.websocket.server import Limits
from tests.faults.checker import read_history
from tests.faults.counts import times
from tests.faults.runs import RUN
from tests.slow.cluster import child, parent, wait_for_rounds

SPARE = 64  # descriptors of everything that is not a connection

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800)]


def num_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.slow
def test_strangers_cost_nothing(tmp_path: Path, history: Path) -> None:
    """There is a place for who has a key among hundreds that never say who they are (S2); and connections that come and
    go as fast as they can break no conversation, and nobody is taken for dead (S3).
    """
    with child(tmp_path) as only, Strangers("127.0.0.1", only.port, times(1000, 100)) as crowd:
        with parent(tmp_path, [only], *RUN) as run:
            run.wait("children 1/1")
            wait_for_rounds(run, tmp_path)
            assert num_descriptors(only.contact) <= Limits().max_open + SPARE
            crowd.leave()
            for address in itertools.islice(itertools.cycle(ADDRESSES), times(10_000, 200)):
                knock("127.0.0.1", only.port, address).close()
            assert num_descriptors(only.contact) <= Limits().max_open + SPARE
            wait_for_rounds(run, tmp_path)
            assert not [event for event in read_history(history) if event["event"] == "left"]
            assert run.end(signal.SIGINT) == 128 + signal.SIGINT
        assert only.end(signal.SIGTERM) == 0
