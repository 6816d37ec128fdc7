"""What parent and child agree on, and the line that says where they do not."""

from marl.errors import HandshakeRefused
from marl.wire.hello import Hello, Welcome
from marl.wire.protocol import OLDEST_PROTOCOL, PROTOCOL, foreign_protocol
from marl.words import CUT

MOST_LEAVES = 3  # that a line names


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
        found += _differing_leaves(hello.spaces, welcome.spaces)
    if hello.num_bytes != welcome.num_bytes:
        found.append(f"bytes of weights: parent {hello.num_bytes}, child {welcome.num_bytes}")
    if hello.fingerprint != welcome.fingerprint:
        found.append(f"network fingerprint: parent {hello.fingerprint[:12]}, child {welcome.fingerprint[:12]}")
    if not set(hello.codecs) & set(welcome.codecs):
        found.append(f"codecs: parent {', '.join(hello.codecs)}, child {', '.join(welcome.codecs)}")
    if not found:
        return ""
    return "; ".join(found) + ": use the same versions of marl, of the environment and of plug-ins on both"


def _differing_leaves(parent: str, child: str) -> list[str]:
    """A line for each leaf that is not the same in both descriptions of spaces, see ``Hello.spaces``."""
    theirs, ours = _by_leaf(parent), _by_leaf(child)
    names = list({**theirs, **ours})
    if any(text.endswith(CUT) for text in (parent, child)):  # nobody knows which leaves the rest names
        names = [name for name in names if name in theirs and name in ours]
    found = [
        f"environment {name}: parent {theirs.get(name, 'nothing')}, child {ours.get(name, 'nothing')}"
        for name in names
        if theirs.get(name) != ours.get(name)
    ]
    return found if len(found) <= MOST_LEAVES else [*found[:MOST_LEAVES], f"{len(found) - MOST_LEAVES} more"]


def _by_leaf(spaces: str) -> dict[str, str]:
    parts = (piece.rpartition(": ") for piece in spaces.split("; ") if not piece.endswith(CUT))
    return {name: words for name, _, words in parts}
