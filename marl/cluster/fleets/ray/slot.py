"""One child of the fleet: the actor that keeps it, wherever Ray puts that, and the endpoint that finds it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import marl
from marl.cluster.fleets.ray.endpoint import RayEndpoint
from marl.cluster.fleets.ray.node import NodeActor

AGAIN_S = 1.0  # between two questions to an actor that is not there
METHODS = 8  # of an actor at a time


class Making(NamedTuple):
    """How actors are made."""

    ray: Any  # the package
    options: dict[str, Any]  # of each actor, as Ray calls them
    key: str  # text of the run's cluster key
    workers: int  # of each child


class Slot:
    """Used by one thread at a time."""

    def __init__(self, name: str, endpoint: RayEndpoint, making: Making) -> None:
        """``name``: of its actor, where Ray shows that."""
        self.endpoint, self.name = endpoint, name
        self.node: str | None = None  # id of the one where the child is
        self._making, self._ray = making, making.ray
        self._actor: Any = None
        self._place: tuple[Any, int] | None = None  # placement group, number of the bundle
        self._pending: Any = None  # the answer to what the actor was asked
        self._listens = False  # that was to start its child
        self._away = False  # it was there before
        self._again_at = 0.0

    @property
    def is_placed(self) -> bool:
        """Whether it has a place in the cluster, or had one that Ray will give it again."""
        return self._place is not None

    @property
    def pending(self) -> Any:
        """What its actor was asked and has not answered yet."""
        return self._pending

    def place(self, group: Any, bundle: int) -> None:
        """Start its actor in a bundle of this placement group."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self._place = group, bundle
        making = self._making
        self._actor = (
            self._ray.remote(NodeActor)
            .options(
                name=self.name,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle),
                max_restarts=-1,
                max_concurrency=METHODS,
                **making.options,
            )
            .remote(making.key, making.workers, marl.__version__)
        )
        self._ask_to_listen()

    def poll(self, draining: frozenset[str]) -> str | None:
        """See what has become of it. Returns a line for the user, if there is news.

        Args:
            draining: ids of the nodes that are about to be taken away.
        """
        if self._place is None:
            return None
        if self._pending is None:
            if time.monotonic() >= self._again_at and self.node not in draining:
                self._ask_to_listen()
            return None
        ready, _ = self._ray.wait([self._pending], timeout=0)
        if ready:
            return self._answered()
        if self.node in draining and not self._away:
            self._away = True
            self._actor.leave.remote()
            return f"{self.endpoint.address}: Ray takes its node away; it hands in its work, and leaves"
        return None

    def end(self) -> Any:
        """Let its child hand in its work and end. Returns what to wait for, or None."""
        return None if self._actor is None else self._actor.leave.remote()

    def kill(self) -> None:
        """End its actor."""
        if self._actor is not None:
            self._ray.kill(self._actor)

    def _answered(self) -> str | None:
        answer, self._pending = self._pending, None
        try:
            said = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            return self._failed(error)
        if self._listens:
            place, self.node = said
            self.endpoint.move(place)
            line = f"{self.endpoint.address} is back, at {place}" if self._away else None
            self._away, self._listens = False, False
            self._pending = self._actor.watch.remote()
            return line
        self.endpoint.move(None)
        if self._away:  # it was told to leave
            return None
        self._away, self._again_at = True, time.monotonic() + AGAIN_S
        return f"{self.endpoint.address} ended ({said}) and is started again"

    def _failed(self, error: Exception) -> str | None:
        was_away, self._away = self._away, True
        self._again_at = time.monotonic() + AGAIN_S
        self.endpoint.move(None)
        errors = self._ray.exceptions
        if isinstance(error, errors.ActorDiedError):  # Ray does not start it again: somebody has ended it
            assert self._place is not None
            self.place(*self._place)
            self._again_at += AGAIN_S
        elif not isinstance(error, errors.RayActorError):
            return None if was_away else f"{self.endpoint.address}: {reason_of(error)}; it is tried again"
        self.node = None
        return None if was_away else f"{self.endpoint.address} is gone; it comes back when Ray has a node for it"

    def _ask_to_listen(self) -> None:
        self._listens = True
        self._pending = self._actor.listen.remote()


def reason_of(error: BaseException) -> str:
    """What an error of Ray says that a user can mend: the last line of it that is no traceback."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return str(cause)
    lines = [
        line.strip() for line in str(error).splitlines() if line.strip() and not line.strip().startswith(("^", "File "))
    ]
    telling = [line for line in lines if "Error: " in line or "Error:" in line] or lines or [type(error).__name__]
    return telling[-1][:400]
