"""One child of the fleet: the actor that keeps it, wherever Ray puts that, and the endpoint that finds it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import marl
from marl.cluster.fleets.ray.endpoint import RayEndpoint
from marl.cluster.fleets.ray.node import NodeActor
from marl.errors import ConfigError

AGAIN_S, LONGEST_S = 1.0, 30.0  # between two tries; each that fails doubles it
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
        self._is_dead = False  # its actor, which Ray does not start again
        self._actors = 0  # so far: each has a name of its own, as Ray remembers dead ones
        self._again_at, self._pause = 0.0, AGAIN_S
        self._said: set[str] = set()  # reasons, since it was there last

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

        self._place, self._is_dead, self._actors = (group, bundle), False, self._actors + 1
        making = self._making
        self._actor = (
            self._ray.remote(NodeActor)
            .options(
                name=self.name if self._actors == 1 else f"{self.name}-{self._actors}",
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
            if time.monotonic() < self._again_at or self.node in draining:
                return None
            self._again_at = time.monotonic() + self._pause  # also if the next line raises
            if self._is_dead:
                self.place(*self._place)
            else:
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
            place, self.node, start = said
            self.endpoint.move(place)
            line = f"{self.endpoint.address} is back, at {place}" if self._away else None
            self._away, self._listens, self._pause = False, False, AGAIN_S
            self._said.clear()
            self._pending = self._actor.watch.remote(start)
            return line
        self.endpoint.move(None)
        if self._away:  # it was told to leave
            return None
        self._away, self._again_at = True, time.monotonic() + AGAIN_S
        return f"{self.endpoint.address} ended ({said}) and is started again"

    def _failed(self, error: Exception) -> str | None:
        errors = self._ray.exceptions
        self.endpoint.move(None)
        self._away, self._again_at = True, time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_S)
        # These two leave the actor as it is, or Ray starts it again.
        self._is_dead = not isinstance(error, (errors.ActorUnavailableError, errors.RayTaskError))
        if isinstance(error, errors.ActorUnavailableError):
            self.node, self._pause = None, AGAIN_S
        elif isinstance(error, errors.ActorPlacementGroupRemoved):
            self._place = self._actor = None  # it is given another one
        begins = not isinstance(error, errors.ActorDiedError) or error.actor_init_failed
        if isinstance(error, errors.ActorUnavailableError) or not begins:
            line = f"{self.endpoint.address} is gone; it comes back when Ray has a node for it"
        else:
            line = f"{self.endpoint.address}: {reason_of(error)}; it is tried again"
        if line in self._said or (self._said and "is gone;" in line):
            return None
        self._said.add(line)
        return line

    def _ask_to_listen(self) -> None:
        self._listens = True
        self._pending = self._actor.listen.remote()


@contextlib.contextmanager
def refusing_options() -> Iterator[None]:
    """What Ray does not take of a user's options is told in one line.

    Raises:
        ConfigError: it does not.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--ray-env, --ray-resource or --ray-label: {' '.join(str(error).split()):.400}") from error


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
