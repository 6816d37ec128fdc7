"""Strangers by the hundred at a child that trains: they cost it nothing that it needs."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from marl.links.server import Limits
from tests.commands import ENDLESS, until
from tests.faults.checker import read_history
from tests.faults.counts import times
from tests.faults.crowd import ADDRESSES, Crowd, knock
from tests.slow.cluster import OFTEN, child, parent, wait_for_rounds

RUN = ("CartPole-v1", *ENDLESS, *OFTEN)
SPARE = 64  # descriptors of everything that is not a connection

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800)]


def num_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_who_has_a_key_comes_in_through_a_crowd(tmp_path: Path) -> None:
    """Hundreds of connections that never say who they are: there is a place for the one that does (S2)."""
    with child(tmp_path) as only, Crowd("127.0.0.1", only.port, times(1000, 100)):
        contact = until(lambda: only.contact, of=only.process)
        with parent(tmp_path, [only], *RUN) as run:
            run.wait("children 1/1")
            wait_for_rounds(run, tmp_path)
            assert num_descriptors(contact) <= Limits().max_open + SPARE
            assert run.end(signal.SIGINT) == 0
        assert only.end(signal.SIGTERM) == 0


def test_a_flood_breaks_no_conversation(tmp_path: Path, history: Path) -> None:
    """Connections that come and go as fast as they can: rounds go on, and nobody is taken for dead (S3)."""
    with child(tmp_path) as only, parent(tmp_path, [only], *RUN) as run:
        run.wait("children 1/1")
        wait_for_rounds(run, tmp_path)
        contact = only.contact
        for address in itertools.islice(itertools.cycle(ADDRESSES), times(10_000, 500)):
            knock("127.0.0.1", only.port, address).close()
        assert num_descriptors(contact) <= Limits().max_open + SPARE
        wait_for_rounds(run, tmp_path)
        assert not [event for event in read_history(history) if event["event"] == "left"]
        assert run.end(signal.SIGINT) == 0
        assert only.end(signal.SIGTERM) == 0
