"""A port that is in use: waited for, and not for ever."""

import socket
from pathlib import Path
from typing import Any

import pytest

from marl.cli.child import _check, click
from marl.errors import ConfigError
from marl.trust.options import TrustOptions


@pytest.fixture
def holder() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.usefixtures("marl_home")
def test_a_port_is_waited_for(holder: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the contact of a child that was killed has still to end."""
    port, said = holder.getsockname()[1], []

    def echo(text: str, **unused: Any) -> None:
        said.append(text)
        holder.close()

    monkeypatch.setattr(click, "echo", echo)
    _check("127.0.0.1", port, TrustOptions(), 30.0)
    assert said == [f"port {port} is in use; waiting up to 30 s for it (--wait)"]


def test_not_for_ever(holder: socket.socket, marl_home: Path) -> None:
    with holder, pytest.raises(ConfigError, match="is in use: end the program that has it"):
        _check("127.0.0.1", holder.getsockname()[1], TrustOptions(), 0.0)
