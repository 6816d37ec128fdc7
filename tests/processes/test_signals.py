import os
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from marl.processes.signals import STOPPING, Interrupted, at_most, end_if_told, last_words, stop_event


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_sets_the_event_and_nothing_else(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_event() as stopped:
        assert not stopped.is_set()
        os.kill(os.getpid(), number)
        assert stopped.wait(10)
        os.kill(os.getpid(), signal.SIGINT)  # impatience changes nothing
        assert stopped.signal == number
    assert signal.getsignal(number) is before


def test_who_waits_long_before_a_run_ends_if_told() -> None:
    end_if_told()
    with stop_event() as stopped:
        end_if_told()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(10)
        with pytest.raises(Interrupted) as raised:
            end_if_told()
    assert raised.value.number == signal.SIGTERM
    end_if_told()


def test_a_signal_comes_while_the_event_is_being_looked_at() -> None:
    """The handler then runs in a thread that holds the event's own lock."""
    with stop_event() as stopped:
        with stopped._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(10)


@pytest.mark.parametrize("number", STOPPING)
def test_who_was_told_to_end_says_its_last_words(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in STOPPING]
    with last_words():
        with stop_event() as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopped.wait(10)
        os.kill(os.getpid(), number)  # would end the tests
        with stop_event() as again:
            os.kill(os.getpid(), number)
            assert again.wait(10)
        os.kill(os.getpid(), number)
    assert [signal.getsignal(each) for each in STOPPING] == before


def test_who_was_not_told_to_end_still_hears_signals() -> None:
    before = [signal.getsignal(each) for each in STOPPING]
    with last_words():
        with stop_event():
            pass
        assert [signal.getsignal(each) for each in STOPPING] == before


@pytest.mark.parametrize("told", [True, False])
def test_a_signal_at_the_very_end_of_the_event_is_heard(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda came, unused: heard.append(came))
    close = os.close

    def close_slowly(number: int) -> None:
        signal.raise_signal(signal.SIGINT)
        close(number)

    try:
        with stop_event() as stopped:
            if told:
                os.kill(os.getpid(), signal.SIGTERM)
                assert stopped.wait(10)
            monkeypatch.setattr(os, "close", close_slowly)
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGINT, before)
    assert heard == ([] if told else [signal.SIGINT])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is none here")
def test_nohup_keeps_its_promise() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_event() as stopped:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert not stopped.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", STOPPING)
def test_what_is_open_is_closed_where_the_end_would_come_at_once(number: signal.Signals) -> None:
    code = f"""
import os
from marl.cli.main import run
from marl.processes.signals import raising
import click

@click.command()
def command():
    with raising():
        try:
            os.kill(os.getpid(), {int(number)})
        finally:
            print("closed", flush=True)

run(command, [])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "closed\n", "Error: stopped\n")


def test_outside_the_main_thread_signals_stay_as_they_are() -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    seen = []

    def other() -> None:
        with stop_event() as stopped:
            seen.append((stopped.is_set(), [signal.getsignal(number) for number in STOPPING]))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_the_end_at_once_leaves_no_folders() -> None:
    """Neither the key of local children nor the sockets of processes, while torch loads; forked processes keep both."""
    code = """
import os, signal
from marl.cluster.fleets.local import LocalFleet
from marl.processes.signals import end_at_once
end_at_once()
with LocalFleet(2) as children:
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    os.waitpid(pid, 0)
    names = {name.rpartition("-")[0] for name in os.listdir(os.environ["TMPDIR"])}
    print(names == {"marl-local", "pymp"}, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
"""
    with tempfile.TemporaryDirectory() as folder:  # a long path is no place for sockets, which then lie elsewhere
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (130, "True\n"), done
        assert os.listdir(folder) == []


@pytest.mark.parametrize("number", STOPPING)
def test_the_end_comes_at_once(number: signal.Signals) -> None:
    """Even where every exception is swallowed."""
    code = f"""
import os
from marl.processes.signals import end_at_once
end_at_once()
try:
    os.kill(os.getpid(), {int(number)})
    while True: pass
except BaseException:
    print("swallowed")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "Error: stopped\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.parametrize("where", ["raising", "stop_event", "contextlib.nullcontext"])
def test_what_is_forked_answers_no_signal_for_this_process(where: str) -> None:
    """SIGTERM ends it in silence; the others, which a whole group gets, are left to who has forked it."""
    code = f"""
import contextlib, os, signal
from marl.processes.signals import end_at_once, raising, stop_event

end_at_once()
with {where}() as stopped:
    alive, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGINT)
        os.write(told, b"1")
        while True:  # no pause: a signal between the last instruction and the wait would be lost
            pass
    assert os.read(alive, 1) == b"1"
    os.kill(pid, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    assert stopped is None or not stopped.is_set()
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{-signal.SIGTERM}\n", "")


def test_a_limit_interrupts_what_waits_and_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    with pytest.raises(TimeoutError, match=r"took more than 0\.05 s"), at_most(0.05):
        threading.Event().wait()
    with at_most(60.0):
        pass
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0) == before


def test_somebody_elses_timer_goes_on() -> None:
    before = signal.setitimer(signal.ITIMER_REAL, 1000.0, 7.0)
    try:
        with at_most(60.0):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 60.0
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 900.0 < left <= 1000.0
        assert interval == 7.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


def test_a_limit_is_none_outside_the_main_thread() -> None:
    entered: list[bool] = []

    def enter() -> None:
        with at_most(0.0):
            entered.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [True]
