"""Only one parent leads a run: the newest, also for a child that has just been started again."""

from pathlib import Path

import msgspec
import pytest

from marl.cluster.fence import Fence
from marl.errors import HandshakeRefused
from tests.cluster.test_handshake import hello_of

HELLO = hello_of()


def parent(term: int, instance: str):  # type: ignore[no-untyped-def]
    return msgspec.structs.replace(HELLO, term=term, instance=instance)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_older_parent_is_told_to_stop(restarted: bool, tmp_path: Path) -> None:
    fence = Fence(tmp_path, "box-5050")
    fence.check(parent(1, "a"))
    fence.check(parent(1, "a"))  # the same one, after a broken link
    fence.check(parent(2, "b"))
    if restarted:
        fence = Fence(tmp_path, "box-5050")
    for term, instance in ((1, "a"), (2, "c")):
        with pytest.raises(HandshakeRefused, match="goes on under another parent: expected term 3 or later") as refused:
            fence.check(parent(term, instance))
        assert refused.value.superseded
    fence.check(parent(2, "b"))
    fence.check(parent(3, "c"))


def test_other_runs_and_other_children_are_no_concern(tmp_path: Path) -> None:
    Fence(tmp_path, "box-5050").check(parent(5, "a"))
    Fence(tmp_path, "box-5051").check(parent(1, "b"))
    Fence(tmp_path, "box-5050").check(msgspec.structs.replace(parent(1, "b"), run_id="another"))


def test_where_nothing_can_be_written_it_holds_until_the_child_ends(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    fence = Fence(tmp_path, "box-5050")
    fence.check(parent(5, "a"))
    with pytest.raises(HandshakeRefused):
        fence.check(parent(1, "b"))
