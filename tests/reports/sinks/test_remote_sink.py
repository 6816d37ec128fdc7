from pathlib import Path

import pytest
from msgspec.structs import replace

from marl.errors import RunFolderError
from marl.reports.events import Checkpointed, Status
from marl.reports.remote import RemoteCopy, RemoteRuns
from marl.reports.sinks.remote_sink import RemoteSink
from marl.reports.sinks.sink import Facts


def test_the_copy_follows_checkpoints(tmp_path: Path, facts: Facts, status: Status) -> None:
    there, here = tmp_path / "there", tmp_path / "run"
    here.mkdir()
    sink = RemoteSink(RemoteRuns(there.as_uri()))
    (here / "config.toml").touch()
    sink.begin(replace(facts, folder=here))
    assert (there / "run" / "config.toml").is_file()
    (here / "checkpoint.pt").touch()
    sink.on(status)
    assert not (there / "run" / "checkpoint.pt").exists()
    sink.on(Checkpointed(file="checkpoint.pt"))
    assert (there / "run" / "checkpoint.pt").is_file()
    (here / "curve.png").touch()
    sink.close()
    assert (there / "run" / "curve.png").is_file()


def test_a_copy_that_fails_is_told_once_and_tried_again(
    tmp_path: Path, facts: Facts, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "run"
    here.mkdir()
    sink = RemoteSink(RemoteRuns(there.as_uri()))

    def fails(unused: object) -> None:
        raise RunFolderError("expected to copy, got nothing")

    with monkeypatch.context() as patch:
        patch.setattr(RemoteCopy, "update", fails)
        sink.begin(replace(facts, folder=here))
        sink.on(Checkpointed(file="checkpoint.pt"))
    assert len(notes) == 1
    assert notes[0].endswith("the folder on this machine is whole, and copied again later")
    (here / "checkpoint.pt").touch()
    sink.on(Checkpointed(file="checkpoint.pt"))
    assert (there / "run" / "checkpoint.pt").is_file()
    assert len(notes) == 1
