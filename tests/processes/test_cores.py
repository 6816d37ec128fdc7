import os
from pathlib import Path

import pytest

from marl.processes.cores import cgroup_quota, count_cores


def version_2(root: Path, text: str) -> Path:
    (root / "cpu.max").write_text(text)
    return root


def version_1(root: Path, quota: str, period: str = "100000\n") -> Path:
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (root / "cpu" / "cpu.cfs_period_us").write_text(period)
    return root


@pytest.fixture
def affinity(monkeypatch: pytest.MonkeyPatch):
    """Pretend that so many cores may be used."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda unused_pid: set(range(count)), raising=False)

    return pretend


def test_affinity_where_there_is_no_quota(tmp_path: Path, affinity) -> None:
    affinity(5)
    assert count_cores(tmp_path) == 5
    assert count_cores(version_2(tmp_path, "max 100000\n")) == 5


@pytest.mark.parametrize(
    ("text", "cores"), [("400000 100000\n", 4), ("250000 100000", 3), ("10000 100000", 1), ("6400000 100000\n", 8)]
)
def test_version_2(tmp_path: Path, affinity, text: str, cores: int) -> None:
    affinity(8)
    assert count_cores(version_2(tmp_path, text)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000\n", 2), ("150000\n", 2), ("1000\n", 1), ("-1\n", 8)])
def test_version_1(tmp_path: Path, affinity, quota: str, cores: int) -> None:
    affinity(8)
    assert count_cores(version_1(tmp_path, quota)) == cores


@pytest.mark.parametrize("text", ["", "nonsense\n", "a b\n", "1 2 3\n", "100000 0\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, affinity, text: str) -> None:
    affinity(3)
    assert cgroup_quota(version_2(tmp_path, text)) is None
    assert count_cores(tmp_path) == 3
    assert cgroup_quota(version_1(tmp_path, "100000", text)) is None


def test_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores(tmp_path) == 1
