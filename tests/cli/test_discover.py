"""The two real commands find each other on loopback."""

import json
import signal
from pathlib import Path

from tests.commands import MARL, succeed, until
from tests.slow.cluster import child


def found(folder: Path) -> list[str]:
    asking = ("nodes", "--discover", "--seconds", "0.5", "--interface", "127.0.0.1", "--json")
    return json.loads(succeed(*MARL, *asking, cwd=folder))["children"]


def test_a_child_that_announces_itself_is_found_while_it_is_there(tmp_path: Path) -> None:
    with child(tmp_path, "--announce") as announced:
        address = announced.address
        until(lambda: address in found(tmp_path), of=announced.process)
        assert announced.end(signal.SIGINT) == 0
    assert address not in found(tmp_path)
