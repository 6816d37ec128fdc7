"""Which files this user wrote on this machine: a keyed hash ends each, and the key stays in the settings folder.

A copy or a renamed file keeps its seal; a single changed byte breaks it.
"""

import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from marl.digests import keyed_name_of
from marl.errors import KeyFileError
from marl.trust.armour import unwrap, wrap
from marl.trust.files import create_private, read_private
from marl.trust.home import marl_home
from marl.trust.secret import Secret

KEY_BYTES = 32
SEAL_BYTES = 77  # of what ``seal_of`` returns
_SEAL = re.compile(rb"marl-seal-2: [0-9a-f]{64}")
_MAX_FILE_BYTES = 1024
_MISSING = "it is made with the next file that marl writes"

Kind = Literal["weights", "settings"]  # a seal of one is worth nothing on the other


def seal_path(home: Path | None = None) -> Path:
    """Where the key lies."""
    return (home or marl_home()) / "seal.key"


def make_seal_key() -> Secret:
    """This user's key, made the first time.

    Raises:
        KeyFileError: the settings folder cannot be written, or the key in it is refused.
    """
    path = seal_path()
    if not path.exists():
        create_private(path, wrap("seal", Secret(secrets.token_bytes(KEY_BYTES))))
    return _load(path)


def seal_of(key: Secret, kind: Kind, content: Iterable[bytes]) -> bytes:
    """One line of text for the end of a file that holds ``content``, in pieces, before it."""
    pieces = (f"marl-seal-2 {kind}\n".encode(), *content)
    return b"marl-seal-2: " + keyed_name_of(pieces, key.reveal()).encode()


def is_seal(text: bytes) -> bool:
    """Whether this looks like one."""
    return _SEAL.fullmatch(text) is not None


def is_own(kind: Kind, content: Iterable[bytes], seal: bytes) -> bool:
    """Whether this user wrote ``content`` on this machine; no key, or one that is refused, means no."""
    if not is_seal(seal):
        return False
    try:
        key = _load(seal_path())
    except KeyFileError:
        return False
    return hmac.compare_digest(seal_of(key, kind, content), seal)


def _load(path: Path) -> Secret:
    line = read_private(path, max_bytes=_MAX_FILE_BYTES, advice=_MISSING)
    key = unwrap("seal", line, max_bytes=KEY_BYTES)
    if isinstance(key, str) or len(key.reveal()) != KEY_BYTES:
        raise KeyFileError(f"expected a key in {path}, got something else: delete it, and the next run makes another")
    return key
