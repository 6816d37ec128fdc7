"""Puts the exchange that was chosen in place of ``auto``, before a run begins."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from marl.cluster.find_spaces import find_spaces
from marl.cluster.fleets.fleet import Fleet
from marl.cluster.own_parts import try_parts
from marl.cluster.planning.decide import decide, with_exchange
from marl.cluster.planning.machines import Probed
from marl.cluster.planning.model import Reference
from marl.config.settings import Config
from marl.exchanges.auto import Auto
from marl.exchanges.weights.exchange import Weights
from marl.wire.endpoint import Endpoint


def left_open(config: Config) -> Config:
    """The settings of a run on children that say nothing of the exchange: the run chooses it. Only algorithms with an
    exchange of their own keep that, and deterministic runs the usual one.
    """
    usual = config.exchange == Weights() and not config.deterministic
    return replace(config, exchange=Auto()) if usual else config


class Opened:
    """See ``Fleet``: one whose children are there already, and were measured."""

    def __init__(self, fleet: Fleet, workers: int) -> None:
        """Open the ``fleet``.

        Args:
            workers: see ``Fleet.open``.

        Raises:
            MarlError: it cannot be opened.
        """
        self._fleet, self._notes = fleet, list[str]()
        self._note: Callable[[str], None] = self._notes.append
        self.endpoints = [Probed(each) for each in fleet.open(workers, lambda line: self._note(line))]

    def open(self, unused_workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        """See ``Fleet``."""
        self._note = note
        for line in self._notes:
            note(line)
        return self.endpoints

    def tend(self) -> Sequence[str]:
        """See ``Fleet``."""
        return self._fleet.tend()

    def close(self) -> None:
        """See ``Fleet``."""
        for each in self.endpoints:
            each.close()
        self._fleet.close()


class Settled(NamedTuple):
    """A run whose exchange is chosen."""

    config: Config
    fleet: Fleet | None  # to use these settings with; None: this machine alone
    lines: list[str]  # for the user
    reference: Reference | None  # what the speed-up is measured against


def settled(config: Config, fleet: Fleet | None, wait_s: float, say: Callable[[str], None]) -> Settled:
    """The settings with an exchange in place of ``auto``, and what belongs to them.

    Args:
        fleet: not open yet; None: this machine alone.
        wait_s: seconds for the first child.
        say: tells the user at once what there is to wait for.

    Raises:
        MarlError: an environment fails, or children cannot be brought; the fleet is closed.
    """
    if fleet is None:
        return Settled(with_exchange(config, config.algorithm.exchange), None, [], None)
    try:
        spaces = find_spaces(config)
        opened = Opened(fleet, config.node.workers)
        decision = decide(config, spaces, try_parts(config, spaces), opened.endpoints, wait_s, say)
    except BaseException:
        fleet.close()
        raise
    return Settled(decision.config, opened, [decision.line], decision.reference)
