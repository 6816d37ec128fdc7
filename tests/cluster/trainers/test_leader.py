"""Which of two parents of one run may write to its folder."""

import os
from pathlib import Path

import pytest

from marl.cluster.trainers.leader import LEADER, Leader
from marl.reports.run_folder import RunFolder


def test_who_took_the_folder_last_holds_it(tmp_path: Path) -> None:
    first, second = Leader(RunFolder(tmp_path)), Leader(RunFolder(tmp_path))
    assert first.instance != second.instance
    first.take()
    assert first.holds()
    second.take()
    assert (first.holds(), second.holds()) == (False, True)


def test_a_folder_that_cannot_be_read_is_nobody_elses(tmp_path: Path) -> None:
    leader = Leader(RunFolder(tmp_path / "gone"))
    leader.take()  # the children still know
    assert leader.holds()
    assert not (tmp_path / "gone" / LEADER).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.timeout(30)
def test_a_claim_that_is_never_written_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LEADER)
    assert Leader(RunFolder(tmp_path)).holds()
