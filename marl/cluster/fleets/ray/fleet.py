"""The fleet of children on a Ray cluster: Ray says where they run; how they are met and trusted is as ever."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl.cluster.addresses import parse_addresses
from marl.cluster.fleets.cluster_settings import PORT
from marl.cluster.fleets.local import ASSUMED, READY_EACH_S, READY_S, remove_home
from marl.cluster.fleets.ray.connection import answers, connect, draining
from marl.cluster.fleets.ray.endpoint import RayEndpoint
from marl.cluster.fleets.ray.resources import Asked, asked, free, free_in_words
from marl.cluster.fleets.ray.settings import RaySettings
from marl.cluster.fleets.ray.slot import Making, Slot, reason_of
from marl.errors import ConfigError, LinkClosed, WorkerFailed
from marl.processes.signals import remove_at_the_end
from marl.trust.keys import key_path

if TYPE_CHECKING:  # TLS and sockets, which a run imports when it needs them
    from marl.cluster.fleets.dialing import Dialing
    from marl.links.websocket.dialer import Dialer

LOOK_S, DRAIN_LOOK_S = 0.2, 1.0  # between two looks at the children, and at what Ray takes away
HOME = "marl-ray-"  # beginning of the folders of keys; the process that made one follows
LOST_S = 25.0  # without an answer; after a minute Ray ends the whole process, and what is not saved is lost
LEAVE_S = 10.0  # for all children to hand in their work at the end


class RayFleet:
    """See ``Fleet``: one actor for each child, in a placement group, with a key that nobody else has.

    The least number of children has one group: all are there, or none. More are taken one at a time, as room comes.
    """

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        remove_left()
        self.home = Path(tempfile.gettempdir(), f"{HOME}{os.getpid()}-{secrets.token_hex(8)}")
        remove_at_the_end(lambda: remove_home(self.home))  # first: a signal may come at any moment
        self._finalizer = weakref.finalize(self, remove_home, self.home)
        self.home.mkdir(mode=0o700)
        self._ray: Any = None
        self._connected = False  # by this fleet
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
            self._ray, self._connected = connect(self._settings.address, note)
            nodes, wanted = self._find_room()
            self._dialing = Dialing((), ASSUMED, self.home, note)
            self._slots = self._make_slots(wanted, workers)
            group = self._reserve([wanted.bundle] * wanted.least, self._settings.spread)
            note(
                f"waiting at most {self._settings.wait_s:g} s for {wanted.in_words(wanted.least)} of the Ray cluster; "
                f"free are {free_in_words(nodes)}"
            )
            self._await_room(group, wanted)
            for number in range(wanted.least):
                self._slots[number].place(group, number)
            self._await_children(self._slots[: wanted.least])
        except BaseException:
            self.close()
            raise
        self._keeper = threading.Thread(target=self._keep, args=(wanted,), name="ray fleet", daemon=True)
        self._keeper.start()
        threading.Thread(target=self._listen, args=(self._ray,), name="ray cluster", daemon=True).start()
        return [slot.endpoint for slot in self._slots]

    def tend(self) -> list[str]:
        """See ``Fleet``. Threads watch the children meanwhile, as a lost cluster lets its callers wait.

        Raises:
            WorkerFailed: the cluster is lost.
        """
        if self._is_lost.is_set():
            raise WorkerFailed(
                f"the Ray cluster has not answered for {LOST_S:.0f} s; what was learned is saved: "
                "marl train --resume RUN --ray goes on, on another cluster, too"
            )
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return lines

    def close(self) -> None:
        """End all children, actors and placement groups; another driver's connection stays. May be called twice."""
        self._closing.set()
        if self._keeper is not None and not self._is_lost.is_set():
            self._keeper.join(LEAVE_S)
        if self._ray is not None and not self._is_lost.is_set():
            ending = threading.Thread(target=self._end, name="ray fleet ends", daemon=True)
            ending.start()
            ending.join(2 * LEAVE_S)  # a lost cluster does not answer
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

    def _find_room(self) -> tuple[dict[str, dict[str, float]], Asked]:
        """What is free, and what to ask for; a run that has just ended may not have left everything yet."""
        deadline = time.monotonic() + self._settings.wait_s
        while True:
            nodes = free(self._ray)
            try:
                return nodes, asked(self._settings, nodes)
            except ConfigError:
                if time.monotonic() >= deadline or self._closing.wait(LOOK_S):
                    raise

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

    def _await_room(self, group: Any, wanted: Asked) -> None:
        ray = self._ray
        ready, _ = ray.wait([group.ready()], timeout=self._settings.wait_s)
        if ready:
            return
        spread = self._settings.spread
        apart = f", each on a node of its own ({spread})" if spread == "STRICT_SPREAD" else ""
        apart += "".join(f", {name}={value}" for name, value in self._settings.labels.items())
        raise ConfigError(
            f"--ray: expected room for {wanted.in_words(wanted.least)}{apart} within {self._settings.wait_s:g} s, "
            f"free are {free_in_words(free(ray))}: ask for fewer (--nodes) or smaller ones (--cores-per-node)"
        )

    def _await_children(self, slots: Sequence[Slot]) -> None:
        ray, deadline = self._ray, time.monotonic() + READY_S + READY_EACH_S * len(slots)
        for slot in slots:
            ready, _ = ray.wait([slot.pending], timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                raise LinkClosed(f"--ray: {slot.name} did not listen within {READY_S:.0f} s: see its log with ray logs")
            try:
                ray.get(ready[0])
            except ray.exceptions.RayError as error:
                raise _explained(slot.name, error) from error
            slot.poll(frozenset())

    def _keep(self, wanted: Asked) -> None:
        """Watch the children until the fleet is closed."""
        taken, look_at, said = frozenset[str](), 0.0, set[str]()
        while not self._closing.wait(LOOK_S):
            try:
                if time.monotonic() >= look_at:
                    taken, look_at = draining(self._ray), time.monotonic() + DRAIN_LOOK_S
                for slot in self._slots:
                    if line := slot.poll(taken):
                        self._lines.put(line)
                self._grow(wanted)
            except Exception as error:
                line = f"the Ray cluster: {reason_of(error)}"
                if line not in said:
                    said.add(line)
                    self._lines.put(line)

    def _listen(self, ray: Any) -> None:
        """Notice that the cluster is lost."""
        heard = time.monotonic()
        while not self._closing.wait(DRAIN_LOOK_S):
            if answers(ray):
                heard = time.monotonic()
            elif time.monotonic() > heard + LOST_S:
                self._is_lost.set()
                return

    def _grow(self, wanted: Asked) -> None:
        """Take one child more where there is room."""
        if self._asked_for is None:
            slot = next((each for each in self._slots if not each.is_placed), None)
            if slot is not None:
                self._asked_for = slot, self._reserve([wanted.bundle], "PACK")
            return
        slot, group = self._asked_for
        if group.wait(0):
            slot.place(group, 0)
            self._asked_for = None
            self._lines.put(f"{slot.endpoint.address}: the Ray cluster has room for it")


def remove_left() -> None:
    """Remove the keys of this user's runs that were killed, on systems that say whether a process lives."""
    if os.name == "nt":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{HOME}*-*"):
        number = folder.name.removeprefix(HOME).partition("-")[0]
        with contextlib.suppress(OSError):
            if number.isdigit() and folder.stat().st_uid == os.getuid() and not _lives(int(number)):
                remove_home(folder)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


def _explained(name: str, error: Exception) -> Exception:
    reason = reason_of(error)
    if "No module named" in str(error):
        return ConfigError(
            f"--ray: a node cannot import what a child needs ({reason}): install marl there, the same version as here, "
            'or let Ray do it (--ray-env \'{"pip": ["..."]}\')'
        )
    return LinkClosed(f"--ray: {name} cannot run a child: {reason}")
