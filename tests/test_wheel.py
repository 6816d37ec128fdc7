"""What a user installs: the wheel of this repository, in an environment that has nothing else."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from marl import __version__
from marl.config.presets import all_presets
from tests.commands import ROOT

EXTRAS = "box2d,zstd,discovery,video,remote"
LARGE_EXTRAS = "mujoco,atari,minigrid,vizdoom,retro,sumo,export,ray"  # only resolved, not installed
LARGE_EXTRAS += ",envpool" * (sys.platform == "linux")
PACKAGES = {"atari": "ale-py", "export": "onnxruntime", "retro": "stable-retro", "sumo": "libsumo"}  # of other names
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*words: str, cwd: Path) -> str:
    """What a command prints that sees nothing of this repository."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done
    return done.stdout


def test_no_message_and_no_page_sends_anybody_to_another_package() -> None:
    assert PROJECT["name"] == "marl-cluster"
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "marl").rglob("*.py")]
    elsewhere = re.compile(r"pip install ['\"]?marl(\b(?!-cluster|_cluster)|\[)")
    others = [page for page in pages if elsewhere.search(page.read_text(encoding="utf-8"))]
    assert others == []


def test_every_extra_is_tried() -> None:
    tried = {*EXTRAS.split(","), *LARGE_EXTRAS.split(","), "envpool"}
    assert tried == set(PROJECT["optional-dependencies"]) - {"dev"}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_wheel_in_a_clean_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "marl", source / "marl", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    run(str(scripts / "python"), "-m", "pip", "wheel", "--no-deps", "-w", "dist", "./source", cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name == f"marl_cluster-{__version__}-py3-none-any.whl"
    inside = zipfile.ZipFile(wheel).namelist()
    assert len([name for name in inside if name.startswith("marl/presets/")]) == len(all_presets())
    assert {name.split("/")[0] for name in inside} == {"marl", f"marl_cluster-{__version__}.dist-info"}

    # The versions that this release is tested with; pip takes no extras in constraints.
    pins = re.sub(r"\[\w+\]", "", (ROOT / "requirements.txt").read_text(encoding="utf-8"))
    (tmp_path / "pins.txt").write_text(pins)
    run(str(scripts / "python"), "-m", "pip", "install", "-c", "pins.txt", f"{wheel}[{EXTRAS}]", cwd=tmp_path)
    others = ("-m", "pip", "install", "--dry-run", "-c", "pins.txt", f"{wheel}[{LARGE_EXTRAS}]")
    resolved = run(str(scripts / "python"), *others, cwd=tmp_path)
    (would,) = (line for line in resolved.splitlines() if line.startswith("Would install "))
    wanted = [PACKAGES.get(extra, extra) for extra in LARGE_EXTRAS.split(",")]
    assert [name for name in wanted if not re.search(rf" {name}-\d", would.replace("_", "-"))] == []
    marl = str(scripts / "marl")
    assert run(marl, "--version", cwd=tmp_path) == f"marl {__version__}\n"
    assert "CartPole-v1" in run(marl, "presets", cwd=tmp_path)
    words = ("--local", "2", "--steps", "4000", "--set", "exchange.zstd=true", "--exchange", "experience")
    run(marl, "parent", "CartPole-v1", "--algorithm", "impala", *words, cwd=tmp_path)
    run(marl, "evaluate", "weights.pt", "--video", "film", cwd=tmp_path)
    assert list((tmp_path / "film").glob("*.mp4"))
    run(marl, "train", "LunarLander-v3", "--steps", "2000", "--out", "lander.pt", cwd=tmp_path)
    assert (tmp_path / "lander.pt").is_file()
    assert "marl-cluster" in run(str(scripts / "python"), "-m", "pip", "show", "marl-cluster", cwd=tmp_path)
