"""Run folders at a URI. Places that need no server: files by their URI, and memory."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs

from marl.errors import MissingExtra, RunFolderError
from marl.reports.remote import RemoteCopy, RemoteRuns, is_remote

NAME = "CartPole-v1-20260101-120000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder on this machine."""
    (made := tmp_path / "here" / NAME).mkdir(parents=True)
    (made / "config.toml").write_text("seed = 1\n")
    (made / "checkpoint.pt").write_bytes(b"weights")
    (made / "tensorboard").mkdir()
    (made / "tensorboard" / "events.1").write_bytes(b"points")
    for name in (".lock", ".holder", ".checkpoint.pt.abcd.tmp"):
        (made / name).touch()
    return made


@pytest.fixture(params=["file", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    named = tmp_path.as_uri() + "/there/runs" if request.param == "file" else "memory://there/runs"
    yield named
    files, root = url_to_fs(named)
    if files.exists(root):
        files.rm(root, recursive=True)


def names(place: str) -> list[str]:
    files, root = url_to_fs(place)
    return sorted(each.removeprefix(root).lstrip("/") for each in files.find(root))


@pytest.mark.parametrize(
    ("place", "found"), [("s3://bucket/runs", True), ("runs", False), ("C:\\runs", False), (Path("/a/b"), False)]
)
def test_what_is_a_uri(place: object, found: bool) -> None:
    assert is_remote(place) is found


def test_a_copy_follows_and_comes_back(folder: Path, uri: str, tmp_path: Path) -> None:
    runs = RemoteRuns(uri)
    runs.demand_writable()
    copy = RemoteCopy(runs, folder)
    copy.update()
    whole = ["checkpoint.pt", "config.toml", "tensorboard/events.1"]
    assert names(copy.uri) == whole
    (folder / "checkpoint.pt").write_bytes(b"newer weights")
    copy.update()
    runs.fetch(NAME, tmp_path / "elsewhere")
    fetched = tmp_path / "elsewhere" / NAME
    assert sorted(each.relative_to(fetched).as_posix() for each in fetched.rglob("*") if each.is_file()) == whole
    assert (fetched / "checkpoint.pt").read_bytes() == b"newer weights"
    with pytest.raises(RunFolderError, match=f"expected no .*{NAME} on this machine"):
        runs.fetch(NAME, tmp_path / "elsewhere")


def test_only_what_has_changed_is_copied(folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = RemoteRuns(uri)
    copied: list[str] = []
    put = runs.files.put_file
    monkeypatch.setattr(runs.files, "put_file", lambda here, there: (copied.append(Path(here).name), put(here, there)))
    copy = RemoteCopy(runs, folder)
    copy.update()
    copied.clear()
    copy.update()
    (folder / "config.toml").write_text("seed = 2\n")
    copy.update()
    assert copied == ["config.toml"]


def test_a_copy_that_breaks_off_leaves_the_file_before(folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = RemoteRuns(uri)
    copy = RemoteCopy(runs, folder)
    copy.update()
    put = runs.files.put_file

    def broken(here: str, there: str) -> None:
        put(here, there)
        raise ConnectionResetError("the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(runs.files, "put_file", broken)
        (folder / "checkpoint.pt").write_bytes(b"newer weights")
        with pytest.raises(RunFolderError, match="got ConnectionResetError: the line is dead"):
            copy.update()
    assert runs.files.cat_file(f"{runs.root}/{NAME}/checkpoint.pt") == b"weights"
    copy.update()
    assert runs.files.cat_file(f"{runs.root}/{NAME}/checkpoint.pt") == b"newer weights"
    assert names(copy.uri) == ["checkpoint.pt", "config.toml", "tensorboard/events.1"]


def test_a_place_that_replaces_no_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = RemoteRuns("memory://there/runs")
    copy = RemoteCopy(runs, folder)
    copy.update()
    move = runs.files.mv

    def moves_to_new_places(here: str, there: str) -> None:
        if runs.files.exists(there):
            raise FileExistsError(there)
        move(here, there)

    monkeypatch.setattr(runs.files, "mv", moves_to_new_places)
    (folder / "checkpoint.pt").write_bytes(b"newer weights")
    copy.update()
    runs.fetch(NAME, tmp_path)
    assert (tmp_path / NAME / "checkpoint.pt").read_bytes() == b"newer weights"
    runs.files.rm(runs.root, recursive=True)


def test_what_is_no_run_folder_is_not_fetched(uri: str, tmp_path: Path) -> None:
    runs = RemoteRuns(uri)
    with pytest.raises(RunFolderError, match=f"expected a run folder at {uri}/{NAME}"):
        runs.fetch(NAME, tmp_path)
    runs.files.makedirs(f"{runs.root}/{NAME}")
    runs.files.pipe_file(f"{runs.root}/{NAME}/readme", b"")
    with pytest.raises(RunFolderError, match=r"no config\.toml there"):
        runs.fetch(NAME, tmp_path)
    assert list(tmp_path.glob(f"*{NAME}*")) == []


@pytest.mark.parametrize("name", ["../../escaped", "/../escaped"])
def test_no_file_is_written_outside_of_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = RemoteRuns("memory://there/runs")
    found: dict[str, Any] = {f"{runs.root}/{NAME}/{each}": {"size": 1} for each in ("config.toml", name)}
    monkeypatch.setattr(runs.files, "find", lambda *unused, **named: found)
    monkeypatch.setattr(runs.files, "get_file", lambda there, here: Path(here).touch())
    with pytest.raises(RunFolderError, match="a file of it is called"):
        runs.fetch(NAME, tmp_path / "in" / "side")
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("nothing-like-it://bucket/runs", "ValueError: Protocol not known: nothing-like-it"),
        ("s3://bucket/runs", "s3fs"),
    ],
)
def test_a_kind_of_place_that_nothing_reaches(uri: str, told: str) -> None:
    if uri.startswith("s3") and importlib.util.find_spec("s3fs"):
        pytest.skip("something reaches it here")
    with pytest.raises(RunFolderError, match=told):
        RemoteRuns(uri)


def test_an_address_holds_no_password() -> None:
    """It is written into the settings, which are copied there."""
    with pytest.raises(RunFolderError) as caught:
        RemoteRuns("ftp://me:hunter2@server/runs")
    assert "hunter2" not in str(caught.value)
    assert "ftp://me:..." in str(caught.value)
    assert "FSSPEC_FTP_PASSWORD" in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtra, match=r"run folders at s3://bucket needs fsspec: run pip install .*\[remote\]"):
        RemoteRuns("s3://bucket")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"expected a place for run folders at file:.*: check address"):
        RemoteRuns((tmp_path / "file").as_uri() + "/runs").demand_writable()
