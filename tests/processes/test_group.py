import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marl.processes.bootstrap import without_main_module
from marl.processes.group import Failure, Member, ProcessGroup
from marl.processes.memory import NO_MEMORY
from tests import process_targets as targets

WAIT_S = 30.0  # the most that a process may take to start or end on a busy machine


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup() as group:
        yield group


def ended(member: Member) -> Member:
    member.process.join(WAIT_S)
    assert not member.process.is_alive()
    return member


def said(member: Member) -> object:
    assert member.pipe.poll(WAIT_S)
    return member.pipe.recv()


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (
        not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    )


@pytest.mark.parametrize("asked", [True, False])
def test_a_good_end_is_a_failure_unless_it_was_asked_for(group: ProcessGroup, asked: bool) -> None:
    ended(group.start("one", targets.ends_well, may_end=lambda: asked))
    failed = [("one", Failure("ended by itself with exit code 0", "", False))]
    assert group.check() == ([] if asked else failed)
    assert group.members == {}


def test_only_the_end_of_the_main_process_is_no_error(group: ProcessGroup) -> None:
    """Another file or connection may end, too."""
    unasked = ended(group.start("unasked", targets.reads_too_far))
    assert unasked.process.exitcode == 1
    ((_, failure),) = group.check()
    assert failure.text == "EOFError: the file is too short"
    assert "in reads_too_far" in failure.trace
    asked = group.start("asked", targets.waits)
    assert said(asked) == "ready"
    asked.pipe.close()
    assert ended(asked).process.exitcode == 0


def test_an_error_comes_with_its_traceback(group: ProcessGroup) -> None:
    ended(group.start("one", targets.fails))
    ((name, failure),) = group.check()
    assert name == "one"
    assert failure.text == "ValueError: the sum is wrong"
    assert "in fails" in failure.trace
    assert "process_targets.py" in failure.trace
    assert not failure.permanent
    assert group.check() == []  # told once


def test_an_error_that_a_restart_cannot_mend(group: ProcessGroup) -> None:
    ended(group.start("one", targets.finds_a_fault))
    ((_, failure),) = group.check()
    assert failure.text == "mend the environment"
    assert failure.permanent


def test_a_process_without_memory_says_what_to_make_smaller(group: ProcessGroup) -> None:
    ended(group.start("one", targets.takes_too_much))
    ((_, failure),) = group.check()
    assert failure.text == NO_MEMORY


def test_an_error_is_found_behind_other_messages(group: ProcessGroup) -> None:
    ended(group.start("unread", targets.talks_then_fails))
    ended(group.start("read", targets.talks_then_fails))
    assert [group.receive("read", WAIT_S) for _ in range(4)] == ["one", "two", None, None]
    failures = dict(group.check())
    assert failures["unread"].text == failures["read"].text == "ValueError: the sum is wrong"


def test_a_killed_process_is_reported(group: ProcessGroup) -> None:
    member = group.start("one", targets.waits)
    assert said(member) == "ready"
    assert group.check() == []
    os.kill(member.process.pid, signal.SIGKILL)
    group.wait(WAIT_S)
    ended(member)
    assert group.check() == [("one", Failure("killed by SIGKILL (out of memory?)", "", False))]


def test_an_exit_code_is_reported(group: ProcessGroup) -> None:
    ended(group.start("one", targets.exits, 7))
    assert group.check() == [("one", Failure("ended with exit code 7", "", False))]


def test_check_may_look_at_some_only(group: ProcessGroup) -> None:
    ended(group.start("worker 0", targets.fails))
    ended(group.start("evaluator", targets.fails))
    assert [name for name, _ in group.check("worker")] == ["worker 0"]
    assert [name for name, _ in group.check()] == ["evaluator"]


def test_who_has_died_or_left_says_nothing(group: ProcessGroup) -> None:
    ended(group.start("one", targets.exits, 1))
    group.send("one", "hello")
    assert group.receive("one", WAIT_S) is None
    group.check()
    assert group.receive("one") is None


def test_wait_ends_with_the_first_word(group: ProcessGroup) -> None:
    member = group.start("one", targets.waits)
    start = time.monotonic()
    group.wait(WAIT_S)
    assert time.monotonic() - start < WAIT_S
    assert said(member) == "ready"


def test_close_ends_who_waits_for_a_message() -> None:
    group = ProcessGroup(patience=WAIT_S)
    pids = []
    for name in ("one", "two"):
        member = group.start(name, targets.waits)
        assert said(member) == "ready"
        pids.append(member.process.pid)
    start = time.monotonic()
    group.close()
    assert time.monotonic() - start < WAIT_S / 2  # by themselves, long before the patience ends
    group.close()
    assert group.members == {}
    assert not any(exists(pid) for pid in pids)


def test_close_kills_who_will_not_end() -> None:
    """It ignores SIGTERM and never looks at its pipe: patience, then time to close what it holds, then SIGKILL."""
    with ProcessGroup(patience=0.1, closing=0.5) as group:
        members = [group.start(name, targets.ignores_everything) for name in ("one", "two")]
        for member in members:
            assert said(member) == "ready"
        pids = [member.process.pid for member in members]
        start = time.monotonic()
    assert time.monotonic() - start < 3.0
    assert group.members == {}
    assert not any(exists(pid) for pid in pids)


def test_an_error_in_the_block_ends_all() -> None:
    pids = []

    def run() -> None:
        with ProcessGroup() as group:
            pids.append(group.start("one", targets.waits).process.pid)
            raise KeyError("of the main process")

    with pytest.raises(KeyError, match="of the main process"):
        run()
    assert not exists(pids[0])


def test_a_process_has_a_name_ignores_interrupts_and_knows_no_script(group: ProcessGroup) -> None:
    pid, ignores, script = said(group.start("worker 3", targets.says_what_it_is))
    assert pid == group.members["worker 3"].process.pid
    assert group.members["worker 3"].process.name == "marl worker 3"
    assert ignores
    assert script is None or "pytest" not in str(script)
    if Path("/proc").exists():
        assert Path(f"/proc/{pid}/comm").read_text().strip() == "marl worker 3"


def test_the_main_module_comes_back() -> None:
    """Also after an error."""
    main, seen = sys.modules["__main__"], []

    def run() -> None:
        with without_main_module():
            seen.append(sys.modules["__main__"])
            raise KeyError("an error on the way")

    with pytest.raises(KeyError, match="an error on the way"):
        run()
    assert sys.modules["__main__"] is main
    assert seen[0] is not main
    assert seen[0].__spec__ is None
    assert not hasattr(seen[0], "__file__")
