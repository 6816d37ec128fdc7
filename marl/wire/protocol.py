"""The version of the protocol that nodes speak, and the one sentence for nodes that have none in common."""

PROTOCOL = 2  # raised whenever an older node could misread a newer one
OLDEST_PROTOCOL = 2  # spoken too; 1 ends its messages with another digest


def foreign_protocol(theirs: str, *, oldest: int = OLDEST_PROTOCOL, newest: int = PROTOCOL) -> str:
    """The one sentence about nodes that have no protocol in common."""
    return (
        f"this node speaks protocol {oldest} to {newest}, the other {theirs}: install the same version of marl on both"
    )
