import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from marl.reports import facts as module
from marl.reports.facts import MOST_BYTES, MOST_CHANGES, MOST_FILE, git_facts, hardware, versions

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
@pytest.mark.parametrize(
    ("inside", "settings"),
    [
        (".", "[core]\nfsmonitor = {0}"),
        (".", '[filter "x"]\nclean = {0}'),
        (".", "[include]\npath = more"),
        (".", "[extensions]\nworktreeConfig = true"),
        (".", '[core]\nhooksPath = hooks\npager = {0}\n[diff]\nexternal = {0}\n[diff "x"]\ntextconv = {0}'),
        (
            ".",
            '[core]\nsshCommand = {0}\n[remote "x"]\nurl = ssh://x/y\npromisor = true\n[extensions]\npartialClone = x',
        ),
        ("sub", '[filter "x"]\nprocess = {0}\nrequired = true'),
    ],
)
def test_a_repository_of_somebody_else_runs_nothing(
    repository: Path, settings: str, inside: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither by its own settings nor by those of a submodule."""
    ran = tmp_path_factory.mktemp("outside") / "ran"
    command = f'"touch {ran}; cat #"'
    other = repository / inside
    other.mkdir(exist_ok=True)
    for folder in {other, repository}:
        git(folder, "init")
        (folder / "file").write_text("one\n")
        (folder / ".gitattributes").write_text("* filter=x diff=x\n")
        git(folder, "add", ".")
        git(folder, "commit", "-m", "first")
        (folder / "file").write_text("two\n")
        os.utime(folder / ".gitattributes")
    with open(other / ".git/config", "a") as file:
        file.write("\n" + settings.format(command) + "\n")
    for more in ("more", "config.worktree"):
        (other / ".git" / more).write_text(f'[filter "x"]\nclean = {command}\n')
    (other / "hooks").mkdir()
    (other / "hooks/post-index-change").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (other / "hooks/post-index-change").chmod(0o755)
    if "promisor" in settings:  # the object is missing, and would be fetched
        for blob in (other / ".git/objects").glob("??/*"):
            if b"blob" in zlib.decompress(blob.read_bytes())[:4]:
                blob.unlink()
    facts, _ = git_facts(repository)
    assert not ran.exists()
    assert len(facts["commit"]) == 40
    if inside == "." and "[core]\n" not in settings.replace("[core]\nssh", ""):
        assert "makes git run programs" in facts["trouble"]
        assert facts["dirty"] is None


@needs_git
def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_facts(tmp_path) == ({"commit": None, "dirty": None, "changes": None}, b"")


def test_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_facts(tmp_path)[0]["commit"] is None


def test_a_git_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(module, "GIT_TIMEOUT_S", 0.1)
    facts, diff = git_facts(tmp_path)
    assert (facts["commit"], facts["dirty"], diff) == (None, None, b"")
    assert facts["trouble"] == "git config was ended: it took longer than 0.1 s or said too much"


@needs_git
def test_a_large_difference_is_cut_and_says_so(repository: Path) -> None:
    """As where somebody keeps data beside the code: large files, binary ones, many that git does not know."""
    files = {f"data{number}": b"one\n" * (MOST_BYTES // 8) for number in range(6)}
    files |= {"large": b"one\n" * MOST_FILE, "binary": b"\0" * 100, "a line without an end": b"1" * 500_000}
    for name, data in files.items():
        (repository / name).write_bytes(data)
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    for name, data in files.items():
        (repository / name).write_bytes(data.replace(b"o", b"t").replace(b"\0", b"\1").replace(b"1", b"2"))
    for number in range(MOST_CHANGES):
        (repository / f"untracked {number}").touch()
    facts, diff = git_facts(repository)
    assert MOST_BYTES < len(diff) < MOST_BYTES + 200
    assert diff.endswith(b"# cut after 1,048,576 bytes: there is more than marl keeps\n")
    assert b"Binary files a/large and b/large differ" in diff or b"Binary files a/binary" in diff
    assert len(facts["changes"]) == MOST_CHANGES + 1
    assert facts["changes"][-1] == "... and more"


@needs_git
def test_a_slow_git_holds_up_no_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repository, "add", "file")
    git(repository, "commit", "-m", "first")
    monkeypatch.setattr(module, "GIT_TIMEOUT_S", -1.0)  # over before git can answer
    facts, diff = git_facts(repository)
    assert (facts["dirty"], facts["changes"], diff) == (None, None, b"")
    assert "took longer than -1 s" in facts["trouble"]


@needs_git
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_repository_of_another_user(repository: Path) -> None:
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 65534, 65534)
    facts, diff = git_facts(repository)
    assert (facts["commit"], facts["dirty"], diff) == (None, None, b"")
    assert "dubious ownership" in facts["trouble"]
