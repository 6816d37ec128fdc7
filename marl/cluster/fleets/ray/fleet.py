"""The fleet of children on a Ray cluster: Ray says where they run; how they are met and trusted is as ever."""

from __future__ import annotations

import contextlib
import functools
import queue
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from marl.cluster.addresses import parse_addresses
from marl.cluster.fleets.cluster_settings import PORT
from marl.cluster.fleets.local import ASSUMED, READY_EACH_S, READY_S, remove_home
from marl.cluster.fleets.ray.connection import answers, connect, draining
from marl.cluster.fleets.ray.endpoint import RayEndpoint
from marl.cluster.fleets.ray.homes import new_home
from marl.cluster.fleets.ray.resources import Asked, asked, free, free_in_words
from marl.cluster.fleets.ray.settings import RaySettings
from marl.cluster.fleets.ray.slot import Making, Slot, reason_of, refusing_options
from marl.errors import ConfigError, LinkClosed, WorkerFailed
from marl.processes.signals import end_if_told, remove_at_the_end
from marl.trust.keys import key_path

if TYPE_CHECKING:  # TLS and sockets, which a run imports when it needs them
    from marl.cluster.fleets.dialing import Dialing
    from marl.links.websocket.dialer import Dialer

LOOK_S, DRAIN_LOOK_S = 0.2, 1.0  # between two looks at the children, and at what Ray takes away
LOST_S = 25.0  # without an answer; after a minute Ray ends the whole process, and what is not saved is lost
LOST = f"the Ray cluster has not answered for {LOST_S:.0f} s"
INSTALL_S = 900.0  # more for a first child where Ray has to make its environment
LEAVE_S = 10.0  # for all children to hand in their work at the end


class RayFleet:
    """See ``Fleet``: one actor for each child, in a placement group, with a key that nobody else has.

    The least number of children has one group: all are there, or none. More are taken one at a time, as room comes.
    """

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        self.home = new_home()
        remove_at_the_end(lambda: remove_home(self.home))
        self._finalizer = weakref.finalize(self, remove_home, self.home)
        self._ray: Any = None
        self._connected = False  # by this fleet
        self._head = ""  # of the cluster
        self._dialing: Dialing | None = None
        self._slots: list[Slot] = []
        self._groups: list[Any] = []
        self._asked_for: tuple[Slot, Any] | None = None  # a child more, and the group that is to come for it
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._keeper: threading.Thread | None = None
        self._is_lost = threading.Event()  # the cluster does not answer any more

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[RayEndpoint]:
        """See ``Fleet``. Returns once the least number of children listens.

        Raises:
            MissingExtra, ConfigError, LinkClosed: there is no cluster, it has no room, or a node cannot run a child.
        """
        from marl.cluster.fleets.dialing import Dialing

        try:
            self._ray, self._connected, self._head = connect(self._settings.address, note)
            threading.Thread(target=self._listen, name="ray cluster", daemon=True).start()
            deadline = time.monotonic() + self._settings.wait_s
            nodes, wanted = self._find_room(deadline, note)
            self._dialing = Dialing((), ASSUMED, self.home, note)
            self._slots = self._make_slots(wanted, workers)
            group = self._reserve([wanted.bundle] * wanted.least, self._settings.spread)
            note(
                f"waiting at most {self._settings.wait_s:g} s for {wanted.in_words(wanted.least)} of the Ray cluster; "
                f"free are {free_in_words(nodes)}"
            )
            self._await_room(group, wanted, deadline)
            with refusing_options():
                for number in range(wanted.least):
                    self._slots[number].place(group, number)
            self._await_children(self._slots[: wanted.least])
        except BaseException:
            self.close()
            raise
        self._keeper = threading.Thread(target=self._keep, args=(wanted,), name="ray fleet", daemon=True)
        self._keeper.start()
        return [slot.endpoint for slot in self._slots]

    def tend(self) -> list[str]:
        """See ``Fleet``. Threads watch the children meanwhile, as a lost cluster lets its callers wait.

        Raises:
            WorkerFailed: the cluster is lost.
        """
        if self._is_lost.is_set():
            raise WorkerFailed(
                f"{LOST}; what was learned is saved: marl train --resume RUN --ray goes on, elsewhere too"
            )
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return lines

    def close(self) -> None:
        """End all children, actors and placement groups; another driver's connection stays. May be called twice."""
        if self._ray is not None and not answers(self._head):
            self._is_lost.set()  # now, or soon: who asks it anything would wait for an answer
        self._closing.set()
        if self._keeper is not None and not self._is_lost.is_set():
            self._keeper.join(LEAVE_S)
        if self._ray is not None and not self._is_lost.is_set():
            ending = threading.Thread(target=self._end, name="ray fleet ends", daemon=True)
            ending.start()
            ending.join(2 * LEAVE_S)
        self._ray = None
        if self._dialing is not None:
            self._dialing.close()
        self._finalizer()

    def _end(self) -> None:
        ray = self._ray
        with contextlib.suppress(Exception):  # what is lost already needs no end
            leaving = [ref for slot in self._slots if (ref := slot.end()) is not None]
            ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE_S) if leaving else None
        for slot in self._slots:
            with contextlib.suppress(Exception):
                slot.kill()
        for group in self._groups:
            with contextlib.suppress(Exception):
                ray.util.remove_placement_group(group)
        if self._connected:
            ray.shutdown()

    def _make_slots(self, wanted: Asked, workers: int) -> list[Slot]:
        settings, run = self._settings, secrets.token_hex(3)
        more = {name: amount for name, amount in wanted.bundle.items() if name not in ("CPU", "GPU")}
        options: dict[str, Any] = {
            "num_cpus": wanted.bundle["CPU"],
            "num_gpus": wanted.bundle.get("GPU", 0.0),
            "resources": more,
        }
        if settings.environment:
            options["runtime_env"] = settings.environment
        making = Making(self._ray, options, key_path(self.home).read_text(), workers or max(1, wanted.cores - 1))
        return [
            Slot(f"marl-{run}-child-{number}", RayEndpoint(f"ray-{number}", self._dial), making)
            for number in range(wanted.most)
        ]

    def _find_room(self, deadline: float, note: Callable[[str], None]) -> tuple[dict[str, dict[str, float]], Asked]:
        """What is free, and what to ask for; a run that has just ended may not have left everything yet."""
        waits = False
        while True:
            nodes = free(self._ray)
            try:
                return nodes, asked(self._settings, nodes)
            except ConfigError as error:
                if time.monotonic() >= deadline:
                    raise
                if not waits:
                    note(f"waiting at most {self._settings.wait_s:g} s: {error}")
                    waits = True
            self._is_lost.wait(LOOK_S)  # Ray tells nobody when something becomes free
            self._demand_going_on()

    def _answer(self, ref: Any, deadline: float) -> bool:
        """Wait for an answer of Ray until then. Whether it is there."""
        while True:
            ready, _ = self._ray.wait([ref], timeout=LOOK_S)
            if ready or time.monotonic() >= deadline:
                return bool(ready)
            self._demand_going_on()

    def _demand_going_on(self) -> None:
        end_if_told()
        if self._is_lost.is_set():
            raise LinkClosed(f"{LOST}: see ray status there")

    def _dial(self, place: str) -> Dialer:
        assert self._dialing is not None
        return self._dialing.dial(parse_addresses([place], PORT)[0])

    def _reserve(self, bundles: list[dict[str, float]], spread: str) -> Any:
        labels = self._settings.labels
        chosen = {"bundle_label_selector": [labels] * len(bundles)} if labels else {}
        try:
            group = self._ray.util.placement_group(bundles, strategy=spread, **chosen)
        except ValueError as error:
            raise ConfigError(f"--ray: {error}") from error
        self._groups.append(group)
        return group

    def _await_room(self, group: Any, wanted: Asked, deadline: float) -> None:
        ray = self._ray
        if self._answer(group.ready(), deadline):
            return
        spread = self._settings.spread
        apart = f", each on a node of its own ({spread})" if spread == "STRICT_SPREAD" else ""
        apart += "".join(f", {name}={value}" for name, value in self._settings.labels.items())
        raise ConfigError(
            f"--ray: expected room for {wanted.in_words(wanted.least)}{apart} within {self._settings.wait_s:g} s, "
            f"free are {free_in_words(free(ray))}: ask for fewer (--nodes) or smaller ones (--cores-per-node)"
        )

    def _await_children(self, slots: Sequence[Slot]) -> None:
        ray, more = self._ray, INSTALL_S if self._settings.environment else 0.0
        deadline = time.monotonic() + READY_S + READY_EACH_S * len(slots) + more
        for slot in slots:
            if not self._answer(answer := slot.pending, deadline):
                raise LinkClosed(f"--ray: {slot.name} did not listen in time: see its log with ray logs")
            try:
                ray.get(answer)
            except ray.exceptions.RayError as error:
                raise _explained(ray, slot.name, error) from error
            slot.poll(frozenset())

    def _keep(self, wanted: Asked) -> None:
        """Watch the children until the fleet is closed."""
        taken, look_at, said = frozenset[str](), 0.0, set[str]()

        def trying(step: Callable[[], str | None]) -> None:
            try:
                line = step()
            except Exception as error:
                line = f"the Ray cluster: {reason_of(error)}"
                if line in said:
                    return
                said.add(line)
            if line:
                self._lines.put(line)

        while not self._closing.wait(LOOK_S):
            if time.monotonic() >= look_at:
                taken, look_at = draining(self._ray), time.monotonic() + DRAIN_LOOK_S
            for slot in self._slots:
                trying(functools.partial(slot.poll, taken))
            trying(functools.partial(self._grow, wanted))

    def _listen(self) -> None:
        """Notice that the cluster is lost."""
        heard = time.monotonic()
        while not self._closing.wait(DRAIN_LOOK_S):
            if answers(self._head):
                heard = time.monotonic()
            elif time.monotonic() > heard + LOST_S:
                self._is_lost.set()
                return

    def _grow(self, wanted: Asked) -> str | None:
        """Take one child more where there is room."""
        if self._asked_for is None:
            slot = next((each for each in self._slots if not each.is_placed), None)
            if slot is not None:
                self._asked_for = slot, self._reserve([wanted.bundle], "PACK")
            return None
        slot, group = self._asked_for
        if not group.wait(0):
            return None
        self._asked_for = None
        slot.place(group, 0)
        return f"{slot.endpoint.address}: the Ray cluster has room for it"


def _explained(ray: Any, name: str, error: Exception) -> Exception:
    reason = reason_of(error)
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
        return ConfigError(f"--ray-env: Ray cannot make this environment on a node: {reason}")
    if "No module named" in str(error):
        return ConfigError(
            f"--ray: a node cannot import what a child needs ({reason}): install marl there, the same version as here, "
            'or let Ray do it (--ray-env \'{"pip": ["..."]}\')'
        )
    return LinkClosed(f"--ray: {name} cannot run a child: {reason}")
