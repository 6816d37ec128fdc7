"""Runs whose every event is written down, and checked in the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marl.reports.history import VARIABLE as HISTORY
from tests.faults.checker import broken_promises, read_history


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where everything is written down; what was broken fails the test."""
    folder = tmp_path / "history"
    folder.mkdir()
    monkeypatch.setenv(HISTORY, str(folder))
    yield folder
    assert broken_promises(folder) == []
    assert [event for event in read_history(folder) if event["event"] == "round"]
