"""The promise of whatever opens links; what keeps it lives a floor higher, in ``marl/links``."""

from typing import Protocol

from marl.wire.link import Link


class Endpoint(Protocol):
    """Opens one link after another: to one child at a parent, to whichever parent comes at a child.

        while not stopped:
            try:
                link = endpoint.meet()
            except LinkError as error:
                say(error)  # and meet again: the endpoint paces itself
            else:
                converse(link)

    - Whether it dials, listens or asks a broker is its own business. What the other side is called, how it proves who
      it is, and how often it is tried, is decided here; nothing above knows a host, a port or a key.
    - One thread calls ``meet``; ``check`` and ``close`` may be called from others.
    - A link that was handed over is not the endpoint's any more: ``close`` leaves it open.
    """

    @property
    def address(self) -> str:
        """What people call it: where the other side is, or where this one listens. Two of one run differ."""
        ...

    def meet(self) -> Link:
        """Wait for the next link. Who calls again after a failure, or soon after the last link, waits longer each time.

        An endpoint at a child that dials hands over one link at a time: it dials again once the last one has ended.

        Raises:
            LinkError: this try has failed, or the endpoint was closed; another try may end otherwise.
            MarlError: any other one: another try will end the same, such as where one side must not trust the other.
        """
        ...

    def check(self) -> None:
        """Look whether the node of the newest link may still speak. A parent asks about twice a second.

        Raises:
            TrustError: it may not any more.
        """

    def close(self) -> None:
        """Open no more links: a ``meet`` that waits, and each one after it, raises LinkClosed. May be called twice."""
