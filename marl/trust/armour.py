"""One line of text for a key or a ticket: its kind, base32, and a checksum that notices a lost letter."""

import base64
import hashlib
import re

from marl.trust.secret import Secret

_ANY_KIND = re.compile(rb"marl-([a-z]{1,16})-([0-9]{1,4}):")
_CHECKSUM_BYTES = 5  # 8 letters of base32


def wrap(kind: str, payload: Secret) -> Secret:
    """``marl-kind-1:PAYLOAD-CHECKSUM``, in letters that survive mail, chat and double clicks."""
    body = _letters(payload.reveal())
    return Secret(f"marl-{kind}-1:".encode() + body + b"-" + _letters(_checksum(kind, payload)))


def unwrap(kind: str, line: Secret, *, max_bytes: int) -> Secret | str:
    """The payload of a line made by ``wrap``; or, in words that quote nothing of it, what is wrong.

    It returns the problem rather than raise it, so that no traceback passes through a frame that holds a secret.
    """
    text = line.reveal().strip()
    if not text:
        return "nothing"
    prefix = _ANY_KIND.match(text)
    if not prefix:
        return "some other text"
    if prefix[1] != kind.encode():
        return f"a marl {prefix[1].decode()} instead of a marl {kind}"
    if prefix[2] != b"1":
        return f"a {kind} of format {prefix[2].decode()}, while this marl reads format 1"
    body, _, checksum = text[prefix.end() :].rpartition(b"-")
    if len(body) > (max_bytes * 8 + 4) // 5:
        return f"more than {max_bytes} bytes"
    try:
        payload = Secret(base64.b32decode(body + b"=" * (-len(body) % 8)))
    except ValueError:
        return "a text that is cut short or mistyped"
    # Comparing letters, not bytes, also refuses a second spelling of the same payload.
    if _letters(payload.reveal()) != body or _letters(_checksum(kind, payload)) != checksum:
        return "a text that is cut short or mistyped (wrong checksum)"
    return payload


def _letters(data: bytes) -> bytes:
    return base64.b32encode(data).rstrip(b"=")


def _checksum(kind: str, payload: Secret) -> bytes:
    return hashlib.sha256(f"marl-{kind}-1:".encode() + payload.reveal()).digest()[:_CHECKSUM_BYTES]
