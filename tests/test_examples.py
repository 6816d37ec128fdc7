"""Each file of examples/ solves its environment when it is run, and has a size that one reads."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import BARE, MARL, ROOT, succeed

EXAMPLES = sorted(file.stem for file in (ROOT / "examples").glob("own_*.py"))
CATCH = "examples.own_environment:Catch-v0"
OWN = ("--set", "network.name=examples.own_network:Convolutions", "--set",
       "exploration.sampler=examples.own_sampler:Boltzmann")  # fmt: skip


def test_there_is_one_of_each_kind() -> None:
    parts = ("algorithm", "environment", "exchange", "link", "network", "sampler", "sink")
    assert [f"own_{part}" for part in parts] == EXAMPLES
    for name in EXAMPLES:
        most = {"own_sink": 40, "own_link": 150}.get(name, 90)
        assert len((ROOT / f"examples/{name}.py").read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize(
    "name",
    [
        "own_algorithm",
        "own_environment",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("own_exchange", "own_link", "own_network", "own_sampler", "own_sink")
        ),
    ],
)
def test_an_example_solves_its_environment(name: str, tmp_path: Path) -> None:
    out = succeed("-m", f"examples.{name}", cwd=tmp_path)
    assert out.splitlines()[-1] == "solved"
    assert (tmp_path / "weights.pt").is_file()


@pytest.mark.slow
def test_all_of_them_at_once_and_again(tmp_path: Path) -> None:
    """One's own algorithm, network and sampler: trained, evaluated, gone on with."""
    algorithm = ("--algorithm", "examples.own_algorithm:AWR")
    succeed(*MARL, "train", CATCH, *algorithm, *OWN, "--steps", "4000", "--quiet", *BARE, cwd=tmp_path)
    run = next(iter(tmp_path.glob("runs/*")))
    assert "mean" in succeed(str(ROOT / "test_env.py"), "weights.pt", "--no-picture", cwd=tmp_path)
    succeed(*MARL, "train", "--resume", str(run), "--steps", "8000", "--quiet", cwd=tmp_path)
    text = (run / "config.toml").read_text(encoding="utf-8")
    assert 'sampler = "examples.own_sampler:Boltzmann"' in text
    assert 'name = "examples.own_network:Convolutions"' in text


def test_the_environment_is_sound(tmp_path: Path) -> None:
    assert "is fit for training" in succeed(*MARL, "check", CATCH, "--seconds", "0.1", cwd=tmp_path)


def test_nothing_is_learned_by_importing_them() -> None:
    code = "; ".join(f"import examples.{name}" for name in EXAMPLES)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
