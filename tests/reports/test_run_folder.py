import json
import os
from pathlib import Path

import pytest

from marl.errors import RunFolderError
from marl.reports.run_folder import RunFolder, create_run_folder, open_run_folder, write_atomic


def full_disk(*unused: object, **unused_too: object) -> None:
    raise OSError(28, "No space left on device")


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    folders = [create_run_folder(tmp_path / "runs", "CartPole-v1") for _ in range(5)]
    assert len({folder.path for folder in folders}) == 5
    assert all(folder.path.name.startswith("CartPole-v1-20") for folder in folders)


def test_a_name_cannot_leave_the_parent(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path, "../ALE/Pong v5")
    assert folder.path.parent == tmp_path
    assert folder.path.name.startswith("ALE-Pong-v5-")


def test_a_place_that_cannot_hold_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunFolderError, match="choose another folder"):
        create_run_folder(tmp_path / "runs", "x")


def test_opening_a_run(tmp_path: Path) -> None:
    created = create_run_folder(tmp_path, "x")
    created.config.write_text("")
    assert open_run_folder(created.path).path == created.path


def test_opening_what_is_no_run_says_what_came(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="got nothing there"):
        open_run_folder(tmp_path / "missing")
    with pytest.raises(RunFolderError, match="got a file"):
        open_run_folder(tmp_path / "file")
    with pytest.raises(RunFolderError, match=r"got a folder without config\.toml"):
        open_run_folder(tmp_path)


def test_opening_the_parent_names_the_newest_run(tmp_path: Path) -> None:
    for age, name in enumerate(("b", "a")):
        config = tmp_path / name / "config.toml"
        config.parent.mkdir()
        config.write_text("")
        os.utime(config, (1000 + age, 1000 + age))
    with pytest.raises(RunFolderError, match=f"is {tmp_path / 'a'}"):
        open_run_folder(tmp_path)


def test_facts_hold_what_was_given_and_what_was_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_facts({"seed": 7})
    facts = json.loads(folder.facts.read_text())
    assert facts["seed"] == 7
    assert {"versions", "hardware", "git", "started", "command"} <= facts.keys()
    assert facts["hardware"]["cores"] >= 1


def test_facts_that_become_known_later_are_added(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update_facts({"children": 1})
    assert not folder.facts.exists()  # only what has begun to be written is added to
    folder.write_facts({"seed": 7, "children": None})
    before = json.loads(folder.facts.read_text())
    folder.update_facts({"children": {"10.0.0.7:5050": {"cores": 8}}})
    assert json.loads(folder.facts.read_text()) == {**before, "children": {"10.0.0.7:5050": {"cores": 8}}}


def test_facts_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    folder.write_facts({"seed": 7})
    before = folder.facts.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("marl.reports.run_folder.write_atomic", full_disk)
        folder.update_facts({"children": 1})
        assert folder.facts.read_bytes() == before
        with pytest.raises(RunFolderError, match="No space left"):
            folder.write_facts({})
    folder.update_facts({"children": 1})
    assert json.loads(folder.facts.read_text())["children"] == 1


def test_truncating_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.truncate_metrics(10)
    assert list(tmp_path.iterdir()) == []
    moments = (10, 1.0), (20, 2.0), (20, 3.0), (30, 3.0)
    lines = [json.dumps({"steps": steps, "seconds": seconds}) for steps, seconds in moments]
    for file in (folder.metrics, folder.curve, folder.events):
        file.write_text("\n".join([*lines, '{"steps": 1']))
    folder.truncate_metrics(20, 2.0)
    for file in (folder.metrics, folder.curve, folder.events):
        assert [json.loads(line)["steps"] for line in file.read_text().splitlines()] == [10, 20]
        assert file.read_bytes().endswith(b"\n")


def test_write_atomic_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_going_on_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path, "run")
    write_atomic(folder.config, b"kept")
    (folder.path / ".checkpoint.pt.0123abcd.tmp").write_bytes(b"half")
    folder.sweep()
    assert [file.name for file in folder.path.iterdir()] == [folder.config.name]
