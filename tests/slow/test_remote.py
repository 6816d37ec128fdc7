"""Run folders on a real server, over FTP, by the commands that a user types."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marl.processes.ports import free_port
from tests.commands import BARE, MARL, PATIENCE_S, python, run_folder, started, until
from tests.slow.cluster import Node

pytest.importorskip("pyftpdlib")
pytestmark = pytest.mark.slow

HOST = "127.0.0.1"
STEPS = ("--steps", "3000", "--set", "stop.solved=false", "--workers", "1")


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An FTP server that lets anybody read and write in this folder."""
    words = ("-m", "pyftpdlib", "-i", HOST, "-p", str(port), "-d", str(folder), "-w")
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if b"starting FTP server" in line:
                break
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def test_a_run_goes_on_from_a_server(tmp_path: Path) -> None:
    for name in ("there", "first", "second"):
        (tmp_path / name).mkdir()
    port = free_port(HOST)
    with server(tmp_path / "there", port):
        uri = f"ftp://{HOST}:{port}/runs"
        done = python(*MARL, "train", "CartPole-v1", *STEPS, *BARE, "--runs", uri, "--json", cwd=tmp_path / "first")
        assert (done.returncode, done.stderr) == (0, "")
        run = run_folder(tmp_path / "first")
        assert run is not None
        copy = tmp_path / "there" / "runs" / run.name
        assert (copy / "checkpoint.pt").read_bytes() == (run / "checkpoint.pt").read_bytes()
        assert not list(copy.rglob("*.tmp"))
        more = ("--resume", f"{uri}/{run.name}", "--steps", "6000", "--json")
        done = python(*MARL, "train", *more, cwd=tmp_path / "second")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["steps"] >= 6000
        here = tmp_path / "second" / "runs" / run.name
        assert (copy / "checkpoint.pt").read_bytes() == (here / "checkpoint.pt").read_bytes()


def test_a_server_that_goes_away_costs_one_line_and_gets_the_rest_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    often = ("--set", "checkpoint.every_seconds=0.5", "--set", "stop.solved=false", "--minutes", "10")
    port = free_port(HOST)
    words = ("train", "CartPole-v1", "--workers", "1", *often, *BARE, "--plain", "--runs", f"ftp://{HOST}:{port}/r")
    with server(tmp_path / "there", port) as first, started(*MARL, *words, cwd=tmp_path) as process:
        node = Node(process)
        until(lambda: list((tmp_path / "there").glob("r/*/checkpoint.pt")), of=process)
        first.kill()
        node.wait("expected to copy the run folder at ftp://.*; the folder on this machine is whole")
        (copied,) = (tmp_path / "there").glob("r/*/checkpoint.pt")
        before = copied.stat().st_mtime_ns
        first.wait(PATIENCE_S)
        with server(tmp_path / "there", port):
            until(lambda: copied.exists() and copied.stat().st_mtime_ns > before, of=process)
            process.terminate()
            assert process.wait(PATIENCE_S) == 143
            run = run_folder(tmp_path)
            assert run is not None
            assert (run / "checkpoint.pt").read_bytes() == copied.read_bytes()
    assert sum("expected to copy" in line for line in node.lines) == 1


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    uri = f"ftp://{HOST}:{free_port(HOST)}/runs"
    done = python(*MARL, "train", "CartPole-v1", *STEPS, "--runs", uri, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: expected a place for run folders at {uri}, got ConnectionRefusedError")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
