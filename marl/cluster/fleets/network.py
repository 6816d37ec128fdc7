"""Children that run already, on machines that the user names: nothing is started, nothing is ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from marl.cluster.addresses import parse_addresses
from marl.trust.home import marl_home
from marl.trust.options import TrustOptions

if TYPE_CHECKING:  # TLS and sockets, which a run imports when it needs them
    from marl.cluster.fleets.dialing import Dialing
    from marl.wire.endpoint import Endpoint


class NetworkFleet:
    """See ``Fleet``."""

    def __init__(self, texts: Sequence[str], port: int, trust: TrustOptions) -> None:
        """
        Args:
            texts: addresses, see ``parse_addresses``; ``port`` is for those without a port.
            trust: the key or certificates of this parent.

        Raises:
            ConfigError: a text is no address, or an address occurs twice.
        """
        self._addresses, self._trust = parse_addresses(texts, port), trust
        self._dialing: Dialing | None = None

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        """See ``Fleet``. ``workers`` is ignored: these children choose their own number."""
        if not self._addresses:
            return ()
        from marl.cluster.fleets.dialing import Dialing

        self._dialing = Dialing(self._addresses, self._trust, marl_home(), note)
        return self._dialing.endpoints

    def tend(self) -> Sequence[str]:
        """See ``Fleet``. There are no lines: a broken link shows that a child has ended."""
        if self._dialing is not None:
            self._dialing.poll()
        return ()

    def close(self) -> None:
        """See ``Fleet``: these children go on to serve other runs."""
        if self._dialing is not None:
            self._dialing.close()
