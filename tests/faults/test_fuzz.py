"""Half a minute of nonsense; ``make faults`` takes five."""

import os

import pytest

from tests.commands import ROOT, python

SECONDS = 300 if float(os.environ.get("MARL_FAULTS", "0")) else 30


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.slow
def test_nothing_that_comes_from_elsewhere_breaks_or_runs_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.commands.PATIENCE_S", SECONDS + 60.0)
    done = python("-m", "tests.faults.fuzz", "--seconds", str(SECONDS), cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done
    accepted = [line for line in done.stdout.splitlines() if "accepted" in line]
    assert len(accepted) == 6, done.stdout  # every reader was reached, and by good input too
