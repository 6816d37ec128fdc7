"""Messages to and from processes that may be dead: nothing raises, and ``check`` tells why they died."""

import os
import signal
from multiprocessing.connection import Connection

from marl.processes.bootstrap import start_forkserver
from marl.processes.group import ProcessGroup


def echo(pipe: Connection) -> None:
    """Send back what comes; fail on "fail"."""
    while (message := pipe.recv()) != "fail":
        pipe.send(message)
    raise ValueError("as asked")


def test_messages_come_back() -> None:
    start_forkserver()
    with ProcessGroup() as group:
        group.start("worker 0", echo)
        assert group.receive("worker 0") is None
        group.send("worker 0", [1, 2])
        assert group.receive("worker 0", 60) == [1, 2]
        assert group.receive("nobody", 60) is None


def test_a_failure_is_no_message() -> None:
    with ProcessGroup() as group:
        member = group.start("worker 0", echo)
        group.start("evaluator", echo)
        group.send("worker 0", "fail")
        assert group.receive("worker 0", 60) is None
        member.process.join(60)
        group.send("worker 0", "too late")
        assert group.receive("worker 0", 60) is None
        assert group.check("evaluator") == []
        ((name, failure),) = group.check("worker")
        assert (name, failure.text) == ("worker 0", "ValueError: as asked")
        assert "Traceback" in failure.trace
        assert group.check() == []
        assert list(group.members) == ["evaluator"]


def test_a_killed_process_says_nothing() -> None:
    with ProcessGroup() as group:
        member = group.start("worker 0", echo)
        assert member.process.pid is not None
        os.kill(member.process.pid, signal.SIGKILL)
        member.process.join(60)
        assert group.receive("worker 0", 60) is None
        ((_, failure),) = group.check()
        assert failure.text.startswith("killed by SIGKILL")
