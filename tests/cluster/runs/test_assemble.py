"""What a run's parts share."""

import os
from pathlib import Path

import pytest

from marl.cluster.runs.assemble import _damage_told, error_log
from marl.errors import WeightsFileError
from marl.reports.run_folder import RunFolder
from marl.training.saved.weights_file import WeightsFile

ERRORS = [RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError]


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_checkpoint_causes_is_told_of_it(error: type[Exception], tmp_path: Path) -> None:
    with (
        pytest.raises(WeightsFileError, match=rf"checkpoint.pt is damaged \({error.__name__}: .*\): use --init$"),
        _damage_told(RunFolder(tmp_path), WeightsFile({}, {})),
    ):
        raise error("The size of tensor a (3) must match the size of tensor b (4)")


@pytest.mark.parametrize("error", ERRORS)
def test_where_there_is_no_checkpoint_it_is_another_error(error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match="size"), _damage_told(RunFolder(tmp_path), None):
        raise error("another size")


def test_tracebacks_are_added_to_the_log(tmp_path: Path) -> None:
    notes: list[str] = []
    log = error_log(tmp_path / "errors.log", notes.append)
    log("first")
    log("second")
    assert (tmp_path / "errors.log").read_text() == "first\nsecond\n"
    assert notes == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.timeout(30)
def test_a_log_that_is_no_file_of_the_run(tmp_path: Path) -> None:
    """A link would let a run that is resumed write to any file; a FIFO would hold it up for ever."""
    own = tmp_path / "own.txt"
    own.write_text("mine")
    (tmp_path / "link").symlink_to(own)
    os.mkfifo(tmp_path / "fifo")
    notes: list[str] = []
    for name, what in (("link", "it is a symbolic link"), ("fifo", "it is no regular file")):
        error_log(tmp_path / name, notes.append)("trace")
        assert notes.pop() == f"a traceback is lost, {tmp_path / name} cannot be written ({what})"
    assert own.read_text() == "mine"
