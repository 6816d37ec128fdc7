"""Observations outside their space, by the real command: one line, a count in the metrics, and the run goes on."""

from pathlib import Path

import pytest

from tests.commands import BARE, MARL, metrics, succeed

FAULTY = ("tests.fakes:Faulty", "--set", "environment.kwargs={fault='outside',at=40}")
ENVIRONMENTS = 4
SHORT = ("--workers", "1", "--set", f"environment.per_worker={ENVIRONMENTS}", "--steps", "4000", "--plain", *BARE)


@pytest.mark.parametrize(
    "exchange",
    [
        (),
        ("--algorithm", "impala", "--exchange", "experience"),
        ("--algorithm", "impala", "--exchange", "observations"),
    ],
)
def test_a_run_says_it_once_and_counts_them(exchange: tuple[str, ...], tmp_path: Path) -> None:
    out = succeed(*MARL, "train", *FAULTY, *exchange, *SHORT, cwd=tmp_path)
    line = "tests.fakes:Faulty: number 1 of observation is 2000000, outside its space of -1000000 to 1000000; it"
    assert out.count("outside its space") == out.count(line) == 1
    assert metrics(tmp_path)[-1]["metrics"]["outside_observations"] == ENVIRONMENTS
