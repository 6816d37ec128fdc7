"""How Python is started again."""

import subprocess
import sys
from pathlib import Path

import pytest

from marl.processes.interpreter import interpreter
from marl.processes.supervisor import this_program


@pytest.mark.parametrize(("first", "imported"), [("/usr/bin", False), ("", True)])
def test_files_of_the_current_folder_do_not_stand_for_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, imported: bool
) -> None:
    """Unless they do so in the process that starts it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("open('imported', 'w')\nraise SystemExit(3)\n")
    ended = subprocess.run([*interpreter([first, str(tmp_path)]), "-c", "import json"], input=b"", capture_output=True)
    assert (tmp_path / "imported").exists() == imported
    assert (ended.returncode == 3) == imported


def test_a_process_that_is_started_again_imports_as_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/usr/bin", *sys.path])
    (tmp_path / "random.py").write_text("raise SystemExit(3)\n")
    ended = subprocess.run(this_program("--version"), capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
