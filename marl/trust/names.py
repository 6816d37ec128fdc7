"""What a node is called: a name that fits into a certificate and stays when the node restarts."""

import re
import secrets
from pathlib import Path

from marl.errors import ConfigError, KeyFileError
from marl.trust.files import create_private
from marl.trust.secret import Secret

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST_ID = re.compile(rb"[0-9a-f]{16}\n")


def check_name(name: str) -> str:
    """Return ``name`` if it can name a node.

    Raises:
        ConfigError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"expected a name of 1 to 63 small letters, digits and inner hyphens, got {name!r}: try gpu-box-3"
        )
    return name


def host_id(home: Path) -> str:
    """What tells this machine from others of the cluster: made at its first start, then kept in ``home``.

    Raises:
        KeyFileError: it cannot be stored, or something else lies in its place.
    """
    path = home / "host-id"
    create_private(path, Secret(secrets.token_hex(8).encode() + b"\n"))
    try:
        with open(path, "rb") as file:
            content = file.read(64)
    except OSError as error:
        raise KeyFileError(f"expected to read {path}, got {error.strerror or error}: check its owner") from error
    if not _HOST_ID.fullmatch(content):
        raise KeyFileError(f"expected 16 hexadecimal digits in {path}, got something else: delete the file")
    return content.decode("ascii").strip()


def node_id(home: Path, port: int) -> str:
    """The id of the node that listens on ``port`` of this machine: two on one machine differ, a restart does not.

    Raises:
        KeyFileError: this machine's id cannot be stored or read.
    """
    return f"{host_id(home)}-{port}"
