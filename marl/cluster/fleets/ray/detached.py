"""A run that goes on in the cluster when the one who began it has left: a parent in an actor of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marl.cluster.fleets.ray.connection import NAMESPACE, connect
from marl.cluster.fleets.ray.settings import AUTO, RaySettings
from marl.cluster.fleets.ray.slot import METHODS, reason_of, refusing_options
from marl.errors import ConfigError, LinkClosed, MarlError
from marl.processes.signals import raising
from marl.words import listed

PREFIX = "marl-parent-"  # of the names of these actors
MOST_LINES = 5000  # that an actor keeps
KEEPS_S = 600.0  # how long an actor tells of a run that has ended
ANSWER_S = 30.0  # for an actor that is there
BEGIN_S = 20.0  # for the first line of a command, which a quiet one does not have
LOOK_S = 0.5
FOLDER = "~/marl-runs"  # on the node where the parent runs
HIDDEN = "--detach"
STOPPED = 128 + signal.SIGINT  # exit code of a run that was told to end


class Told(NamedTuple):
    """What has been printed since one asked last."""

    lines: list[str]
    number: int  # to ask with next
    code: int | None  # exit code; None: the run goes on


class ParentActor:
    """Runs one command of marl in a process of its own, and keeps what that prints. Its methods run in threads."""

    def __init__(self, words: list[str], folder: str | None) -> None:
        """
        Args:
            words: of the command, after ``marl``.
            folder: where it runs; None: where the actor does.
        """
        import ray

        place = None if folder is None else Path(folder).expanduser()
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "marl", *words],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._number = 0  # of lines so far
        self._code: int | None = None
        self._changed = threading.Condition()  # guards the three above
        threading.Thread(target=self._read, daemon=True).start()

    def told(self, since: int) -> Told:
        """The lines after the first ``since``; waits a moment for some."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > since or self._code is not None, LOOK_S)
            new = min(self._number - since, len(self._lines))
            return Told(list(self._lines)[len(self._lines) - new :] if new > 0 else [], self._number, self._code)

    def stop(self) -> None:
        """Let the run end as Ctrl-C does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._number += 1
                self._changed.notify_all()
        code = self._process.wait()
        with self._changed:
            self._code = code
            self._changed.notify_all()
        time.sleep(KEEPS_S)  # for who wants to see how it ended: attach ends this process before
        os._exit(0)


def detach(settings: RaySettings, words: Sequence[str], name: str, note: Callable[[str], None]) -> str:
    """Begin a run in the cluster. Returns its first line, once there is one.

    Args:
        words: of the command that asks for it.
        name: of the run.

    Raises:
        MarlError: there is no cluster, it has no core for the parent, or a node cannot run it.
    """
    ray, connected, _ = connect(settings.address, note)
    try:
        options: dict[str, Any] = {"runtime_env": settings.environment} if settings.environment else {}
        folder = None if "working_dir" in settings.environment else FOLDER
        with refusing_options():
            actor = (
                ray.remote(ParentActor)
                .options(
                    name=PREFIX + name,
                    namespace=NAMESPACE,
                    lifetime="detached",
                    num_cpus=1,
                    max_concurrency=METHODS,
                    **options,
                )
                .remote(there(words), folder)
            )
        try:
            with raising():  # or what nobody waits for any more would begin later
                told = _first_told(ray, actor, settings.wait_s)
        except BaseException as error:
            ray.kill(actor)
            if isinstance(error, ray.exceptions.GetTimeoutError):
                raise ConfigError(
                    f"--detach: expected a core for the parent within {settings.wait_s:g} s, got none: see ray status"
                ) from error
            if isinstance(error, ray.exceptions.RayError):
                raise LinkClosed(f"--detach: a node cannot run the parent: {reason_of(error)}") from error
            raise
        if told.code:
            ray.kill(actor)
            raise MarlError((told.lines or ["it said nothing"])[-1].removeprefix("Error: "))
        return told.lines[0] if told.lines else ""
    finally:
        if connected:
            ray.shutdown()


def _first_told(ray: Any, actor: Any, wait_s: float) -> Told:
    told: Told = ray.get(actor.told.remote(0), timeout=wait_s)
    deadline = time.monotonic() + BEGIN_S
    while told.code is None and time.monotonic() < deadline and not _begins_well(told.lines):
        told = ray.get(actor.told.remote(0), timeout=BEGIN_S)
    return told


def _begins_well(lines: Sequence[str]) -> bool:
    return bool(lines) and not lines[0].startswith(("Error: ", "Usage: "))


def there(words: Sequence[str]) -> list[str]:
    """The command as it is run in the cluster: there, its address is another."""
    found: list[str] = []
    skip = False
    for word, after in zip(words, [*words[1:], "-"], strict=True):
        if skip or word == HIDDEN:
            skip = False
        elif word == "--ray" or word.startswith("--ray="):
            found.append(f"--ray={AUTO}")
            skip = word == "--ray" and not after.startswith("-")
        else:
            found.append(word)
    return [*found, "--plain"]


def attach(address: str, name: str | None, say: Callable[[str], None], *, stop: bool) -> int:
    """Show a detached run until it ends. Returns its exit code.

    Args:
        name: of the run; None: the only one.
        say: takes its lines.
        stop: end it.

    Raises:
        MarlError: there is no such run.
    """
    ray, connected, _ = connect(address, lambda unused: None)
    try:
        actor, number = _find(ray, name), 0
        if stop:
            ray.get(actor.stop.remote())
        while True:
            try:
                told: Told = ray.get(actor.told.remote(number), timeout=ANSWER_S)
            except ray.exceptions.RayError as error:
                raise LinkClosed(f"the run's parent is gone: {reason_of(error)}") from error
            for line in told.lines:
                say(line)
            if told.code is not None:
                ray.kill(actor)  # it has told all that there is
                return 0 if stop and told.code == STOPPED else told.code
            number = told.number
    finally:
        if connected:
            ray.shutdown()


def _find(ray: Any, name: str | None) -> Any:
    found = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True) if each["namespace"] == NAMESPACE]
    runs = sorted(each.removeprefix(PREFIX) for each in found if each.startswith(PREFIX))
    asked = runs[0] if name is None and len(runs) == 1 else name
    if asked is not None and asked in runs:
        return ray.get_actor(PREFIX + asked, namespace=NAMESPACE)
    there_are = f"there are {listed(runs)}" if runs else "there is none: marl train ENV --ray --detach begins one"
    raise ConfigError(f"expected the name of a detached run of this cluster, got {name or 'none'}: {there_are}")


def run_name(source: str | None) -> str:
    """Of a run that begins now."""
    plain = re.sub(r"[^\w.-]+", "-", source or "CartPole-v1").strip("-")
    return f"{plain}-{time.strftime('%Y%m%d-%H%M%S')}"
