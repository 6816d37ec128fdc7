"""Which machines a run uses, in plain words: what the commands and the API are given. Imports nothing heavy."""

from dataclasses import dataclass, field

from marl.trust.options import TrustOptions

PORT = 5050


@dataclass(frozen=True)
class Cluster:
    """The children of a run."""

    children: tuple[str, ...] = ()  # addresses, see ``parse_addresses``
    port: int = PORT  # of children whose address has none
    local: int = 0  # so many children are started on this machine, for this run
    wait_s: float = 10.0  # for the first child
    trust: TrustOptions = field(default_factory=TrustOptions)
