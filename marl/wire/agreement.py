"""What parent and child agree on, and the line that says where they do not."""

from marl.errors import HandshakeRefused
from marl.wire.hello import Hello, Welcome
from marl.wire.protocol import OLDEST_PROTOCOL, PROTOCOL, foreign_protocol


def agree_protocol(hello: Hello, *, oldest: int = OLDEST_PROTOCOL, newest: int = PROTOCOL) -> int:
    """The newest protocol that both sides speak.

    Raises:
        HandshakeRefused: there is none.
    """
    agreed = min(newest, hello.newest_protocol)
    if agreed < max(oldest, hello.oldest_protocol):
        theirs = f"{hello.oldest_protocol} to {hello.newest_protocol}"
        raise HandshakeRefused(foreign_protocol(theirs, oldest=oldest, newest=newest))
    return agreed


def compare(hello: Hello, welcome: Welcome) -> str:
    """One line with both sides' values of whatever differs; empty if they fit."""
    found = []
    if not hello.oldest_protocol <= welcome.protocol <= hello.newest_protocol:
        spoken = f"{hello.oldest_protocol} to {hello.newest_protocol}"
        found.append(f"protocol: parent {spoken}, child {welcome.protocol}")
    if hello.spaces != welcome.spaces and hello.spaces and welcome.spaces:
        found.append(f"environment: parent {hello.spaces}, child {welcome.spaces}")
    if hello.num_bytes != welcome.num_bytes:
        found.append(f"bytes of weights: parent {hello.num_bytes}, child {welcome.num_bytes}")
    if hello.fingerprint != welcome.fingerprint:
        found.append(f"network fingerprint: parent {hello.fingerprint[:12]}, child {welcome.fingerprint[:12]}")
    if not set(hello.codecs) & set(welcome.codecs):
        found.append(f"codecs: parent {', '.join(hello.codecs)}, child {', '.join(welcome.codecs)}")
    if not found:
        return ""
    return "; ".join(found) + ": use the same versions of marl, of the environment and of plug-ins on both"
