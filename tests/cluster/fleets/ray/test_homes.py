"""Folders of keys that killed runs have left."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from marl.cluster.fleets.ray.homes import new_home


@pytest.mark.skipif(os.name == "nt", reason="nobody tells there whether a process lives")
def test_only_what_a_dead_process_has_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead = int(done.stdout)
    names = [
        f"marl-ray-{dead}-abc",
        f"marl-ray-{os.getpid()}-abc",
        "marl-ray-older",
        "marl-ray-x-y",
        f"other-{dead}-abc",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    home = new_home()
    assert home.name.startswith(f"marl-ray-{os.getpid()}-")
    assert home.stat().st_mode & 0o077 == 0
    assert {each.name for each in tmp_path.iterdir()} == {home.name, *names[1:]}
