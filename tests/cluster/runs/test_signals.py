"""Ctrl-C, SIGTERM and SIGHUP in every phase of the real command: it ends promptly, sanely and whole."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import (
    BARE,
    ENDLESS,
    MARL,
    SINGLE_MACHINE,
    STOP_S,
    end_of,
    learning,
    named,
    nothing_left,
    ownerless_memory,
    run_folder,
    session,
    started,
    until,
)

Process = subprocess.Popen[str]
BOTH = pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, id="SIGHUP", marks=pytest.mark.slow),
    ],
)


def end(process: Process, send: Callable[[], None], seconds: float = STOP_S) -> tuple[int, str, str]:
    """Exit code and output after ``send``; all within the promised time, with nothing left of the session."""
    in_memory = ownerless_memory()
    send()
    out, err = end_of(process, seconds)
    nothing_left(process)
    until(lambda: ownerless_memory() <= in_memory, STOP_S)
    assert "Traceback" not in out + err
    return process.returncode, out, err


def assert_stopped_well(
    process: Process, send: Callable[[], None], cwd: Path, number: signal.Signals = signal.SIGINT
) -> None:
    """A run that had begun keeps what it learned; its code says which signal stopped it."""
    code, out, err = end(process, send)
    assert (code, err) == (128 + number, "")
    assert "Ended (stopped)" in out
    assert (cwd / "weights.pt").is_file()
    run = run_folder(cwd)
    assert run is not None
    assert (run / "checkpoint.pt").is_file()
    assert not list(cwd.glob("**/.*.tmp"))


@BOTH
@pytest.mark.parametrize("phase", ["the forkserver starts", "torch is loaded"])
def test_while_importing(number: signal.Signals, phase: str, tmp_path: Path) -> None:
    """The whole group gets the signal, as from a terminal: the forkserver must not complain either."""
    with started(*SINGLE_MACHINE, cwd=tmp_path) as process:
        loaded = Path(f"/proc/{process.pid}/maps")
        if phase == "the forkserver starts":
            until(lambda: len(session(process.pid)) > 1, of=process)
        else:
            until(lambda: "libtorch" in loaded.read_text(), of=process)
        code, out, err = end(process, lambda: os.killpg(process.pid, number))
    assert (code, out, err) == (128 + number, "", "Error: stopped\n")
    assert not (tmp_path / "weights.pt").exists()


@BOTH
def test_when_workers_start(number: signal.Signals, tmp_path: Path) -> None:
    with started(*MARL, "train", "CartPole-v1", *ENDLESS, *BARE, cwd=tmp_path) as process:
        until(lambda: named(process, "marl worker"), of=process)
        assert_stopped_well(process, lambda: process.send_signal(number), tmp_path, number)


@BOTH
def test_in_the_middle(number: signal.Signals, tmp_path: Path) -> None:
    """As a terminal and a service manager do it: the whole group gets the signal, workers and forkserver too."""
    with started(*MARL, "train", "CartPole-v1", *ENDLESS, *BARE, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        assert_stopped_well(process, lambda: os.killpg(process.pid, number), tmp_path, number)


def test_while_the_last_weights_are_evaluated(tmp_path: Path) -> None:
    """The run has ended by itself: that stays its reason."""
    longest = ("--set", "evaluation.episodes=100000")
    with started(*MARL, "train", "CartPole-v1", "--steps", "5000", *longest, *BARE, cwd=tmp_path) as process:
        until(lambda: named(process, "marl evaluator"), of=process)
        code, out, err = end(process, lambda: process.send_signal(signal.SIGINT))
    assert (code, err) == (0, "")
    assert "Ended (steps)" in out
    assert (tmp_path / "weights.pt").is_file()


def test_while_the_curve_is_drawn(tmp_path: Path) -> None:
    with started(*MARL, "train", "CartPole-v1", "--steps", "2000", cwd=tmp_path) as process:
        until((tmp_path / "weights.pt").exists, of=process)
        # A picture that was begun is finished; matplotlib alone takes a second or two to be imported.
        code, out, err = end(process, lambda: process.send_signal(signal.SIGTERM), 3 * STOP_S)
    assert (code, err) == (0, "")
    assert "Ended (steps)" in out


def test_a_step_that_never_returns(tmp_path: Path) -> None:
    """A worker that cannot look at the stop byte is ended all the same."""
    (tmp_path / "stuck.py").write_text(STUCK)
    with started(*MARL, "train", "stuck:Stuck", "--no-look", *ENDLESS, *BARE, cwd=tmp_path) as process:
        until((tmp_path / "in_step").exists, of=process)
        assert_stopped_well(process, lambda: process.send_signal(signal.SIGINT), tmp_path)


def test_a_deterministic_run_while_it_waits_for_an_evaluation(tmp_path: Path) -> None:
    longest = ("--set", "evaluation.episodes=100000", "--set", "checkpoint.every_steps=500")
    words = ("train", "CartPole-v1", "--deterministic", "--steps", "100000", *longest, *BARE)
    with started(*MARL, *words, cwd=tmp_path) as process:
        until(lambda: named(process, "marl evaluator"), of=process)
        assert_stopped_well(process, lambda: process.send_signal(signal.SIGINT), tmp_path)


STUCK = """
import pathlib, threading
import gymnasium


class Stuck(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.low, {}

    def step(self, action):
        pathlib.Path("in_step").touch()
        threading.Event().wait()
"""
