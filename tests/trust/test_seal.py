"""A user's own files are known again; every other file is a stranger's."""

import stat
from pathlib import Path

import pytest

from marl.errors import KeyFileError
from marl.trust.seal import SEAL_BYTES, is_own, make_seal_key, seal_of, seal_path
from marl.trust.secret import Secret


def test_own_content_is_known_and_no_other(marl_home: Path) -> None:
    seal = seal_of(make_seal_key(), "weights", [b"con", b"tent"])
    assert len(seal) == SEAL_BYTES
    assert is_own("weights", [b"con", b"tent"], seal)
    assert not is_own("weights", [b"Content"], seal)
    assert not is_own("settings", [b"con", b"tent"], seal)
    assert not is_own("weights", [b"con", b"tent"], seal[:-1] + (b"0" if seal[-1:] != b"0" else b"1"))
    assert not is_own("weights", [b"con", b"tent"], seal.upper())
    assert not is_own("weights", [b"con", b"tent"], b"")
    assert not is_own("weights", [b"con", b"tent"], seal_of(Secret(bytes(32)), "weights", [b"con", b"tent"]))


def test_one_key_for_its_owner_alone(marl_home: Path) -> None:
    first = make_seal_key()
    assert make_seal_key() == first
    assert stat.S_IMODE(seal_path().stat().st_mode) == 0o600


def test_reading_makes_no_key(marl_home: Path) -> None:
    assert not is_own("weights", [b"con", b"tent"], seal_of(Secret(bytes(32)), "weights", [b"con", b"tent"]))
    assert list(marl_home.iterdir()) == []


@pytest.mark.parametrize("content", ["", "something else\n", "marl-key-1:AAAA-AAAAAAAA\n"])
def test_a_key_that_is_none(marl_home: Path, content: str) -> None:
    seal_path().write_text(content)
    seal_path().chmod(0o600)
    with pytest.raises(KeyFileError, match=r"seal\.key"):
        make_seal_key()
    assert not is_own("weights", [b"con", b"tent"], seal_of(Secret(bytes(32)), "weights", [b"con", b"tent"]))


def test_a_key_that_others_can_read_seals_nothing(marl_home: Path) -> None:
    seal = seal_of(make_seal_key(), "weights", [b"con", b"tent"])
    seal_path().chmod(0o644)
    assert not is_own("weights", [b"con", b"tent"], seal)
