"""A machine keeps its name, and two nodes on it have two."""

from pathlib import Path

import pytest

from marl.errors import KeyFileError
from marl.trust.names import check_name, host_id, node_id


def test_a_machine_keeps_its_name(tmp_path: Path) -> None:
    first = host_id(tmp_path / "home")
    assert host_id(tmp_path / "home") == first
    assert host_id(tmp_path / "elsewhere") != first
    assert node_id(tmp_path / "home", 5050) == f"{first}-5050"
    assert check_name(node_id(tmp_path / "home", 65535))


@pytest.mark.parametrize(
    "content", [b"", b"0123456789abcdef", b"0123456789ABCDEF\n", b"../../../../etc/x\n", b"0" * 999]
)
def test_something_else_in_its_place_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "host-id").write_bytes(content)
    with pytest.raises(KeyFileError, match="delete the file"):
        host_id(tmp_path)
