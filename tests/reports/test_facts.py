import shutil
import subprocess
from pathlib import Path

import pytest

from marl.reports.facts import git_facts, hardware, versions

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one\n")
    return tmp_path


def test_versions_and_hardware() -> None:
    assert versions()["python"]
    assert versions()["numpy"]
    assert hardware()["usable_cores"] >= 1


@needs_git
def test_a_clean_and_a_dirty_repository(repository: Path) -> None:
    git(repository, "add", "file")
    git(repository, "commit", "-m", "first")
    facts, diff = git_facts(repository)
    assert len(facts["commit"]) == 40
    assert (facts["dirty"], facts["changes"], diff) == (False, [], b"")

    (repository / "file").write_text("two\n")
    facts, diff = git_facts(repository)
    assert (facts["dirty"], facts["changes"]) == (True, [" M file"])
    assert b"-one" in diff
    assert b"+two" in diff


@needs_git
def test_a_repository_without_a_commit(repository: Path) -> None:
    facts, diff = git_facts(repository)
    assert facts == {"commit": None, "dirty": True, "changes": ["?? file"]}
    assert diff == b""


@needs_git
def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_facts(tmp_path) == ({"commit": None, "dirty": None, "changes": None}, b"")


def test_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_facts(tmp_path)[0]["commit"] is None


def test_a_git_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*unused: object, **options: object) -> None:
        assert options["timeout"] == 5.0
        raise subprocess.TimeoutExpired("git", 5.0)

    monkeypatch.setattr(subprocess, "run", hang)
    assert git_facts(tmp_path)[0]["commit"] is None
