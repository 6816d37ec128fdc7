"""A node that runs while its key is replaced."""

from pathlib import Path

import pytest

from marl.cluster.identities import LiveIdentity
from marl.errors import KeyFileError
from marl.trust.identity import identity_from_keys
from marl.trust.keys import KEY_BYTES, create_keys, load_keys
from marl.trust.rotation import rotate


def live(path: Path) -> tuple[LiveIdentity, list[str]]:
    """An identity from this key file, and what it has said so far."""
    notes: list[str] = []
    return LiveIdentity(lambda: identity_from_keys(load_keys(path), "child", "box"), path, notes.append), notes


def test_each_step_of_a_rotation_makes_a_new_identity(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    create_keys(path)
    identity, notes = live(path)
    before = identity()
    assert not identity.poll()
    assert identity() is before
    for number, step in enumerate(("add", "use", "drop"), 1):
        rotate(path, step)
        assert identity.poll()
        assert identity() is not before
        before = identity()
        assert not identity.poll()
        assert notes == ["the key has changed: new connections use it"] * number


@pytest.mark.parametrize("content", [b"", b"A" * KEY_BYTES, None], ids=["empty", "no key", "away"])
def test_a_key_that_cannot_be_used_changes_nothing(content: bytes | None, tmp_path: Path) -> None:
    """It is said once, without a letter of the file; a file that is away says nothing yet."""
    path = tmp_path / "cluster.key"
    create_keys(path)
    identity, notes = live(path)
    before = identity()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    assert [identity.poll() for _ in range(3)] == [False] * 3
    assert identity() is before
    if content is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("the changed key is not used: ")
        assert str(path) in note
        assert "AAAA" not in note


def test_none_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        live(tmp_path / "none.key")
