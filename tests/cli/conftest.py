"""One finished run of the root script for all tests of commands, and a way to call commands within this process."""

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from marl.cli.main import cli, run
from tests.commands import SINGLE_MACHINE, run_folder, succeed


class Trained(NamedTuple):
    """A finished run; nobody may change it."""

    folder: Path  # in which the command ran
    run: Path  # its run folder
    result: dict[str, Any]  # what --json printed


class Answer(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """``python a3c_single_machine.py`` done once, with its observations normalised."""
    folder: Path = tmp_path_factory.mktemp("trained")
    normalised = ("--set", "environment.normalize_observations=true", "--set", "report.every_seconds=0.02")
    soon = ("--set", "evaluation.every_seconds=0.1")  # the evaluator is there when training ends
    out = succeed(*SINGLE_MACHINE, "--steps", "20000", "--seed", "1", "--json", *normalised, *soon, cwd=folder)
    found = run_folder(folder)
    assert found is not None
    return Trained(folder, found, json.loads(out))


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Trained:
    """The finished run again, to be gone on with or broken; the current folder of its own test."""
    folder = tmp_path / "copied"
    shutil.copytree(trained.folder, folder)
    return trained._replace(folder=folder, run=folder / trained.run.relative_to(trained.folder))


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """``marl WORDS`` in ``tmp_path`` without the second that a process of its own takes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*words: str) -> Answer:
        capfd.readouterr()
        try:
            run(cli, [str(word) for word in words])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *capfd.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)
