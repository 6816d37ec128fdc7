"""The connection to a Ray cluster: made where none is there, and every failure in one line."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from marl.cluster.fleets.ray.settings import AUTO
from marl.errors import ConfigError, LinkClosed, MissingExtra
from marl.processes.signals import end_if_told

CONNECT_S = 60.0  # Ray takes up to half of that on a slow disk
REACH_S = 5.0  # for a named address to answer at all
LOOK_S = 0.2  # between two looks whether a signal has come
NAMESPACE = "marl"


def load_ray() -> Any:
    """The package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray", "--ray") from error
    return ray


class Connection(NamedTuple):
    """A cluster."""

    ray: Any  # the package
    is_own: bool  # made by ``connect``: inside a driver there is one
    head: str  # where it can be asked whether it is there


def connect(address: str, note: Callable[[str], None]) -> Connection:
    """Connect to a cluster. Nothing is started: where there is none, that is an error.

    Args:
        address: "auto", "host:port" or "ray://host:port".

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError, LinkClosed: there is no cluster, or not one for this Python.
    """
    ray = load_ray()
    named = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    if ray.is_initialized():
        return Connection(ray, False, _head(ray, named))
    if named == "local":
        raise ConfigError("--ray: expected the address of a cluster, got 'local': marl train --local N needs no Ray")
    _demand_answer(named)
    note(f"connecting to the Ray cluster at {named}, for at most {CONNECT_S:.0f} s")
    failures: list[BaseException] = []
    done = threading.Event()

    def begin() -> None:
        try:
            ray.init(
                address=named, namespace=NAMESPACE, log_to_driver=False, configure_logging=True, logging_level="ERROR"
            )
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    # Ray itself has no time-out that holds for all of its steps.
    thread = threading.Thread(target=begin, name="ray init", daemon=True)
    thread.start()
    deadline = time.monotonic() + CONNECT_S
    while not done.wait(LOOK_S) and time.monotonic() < deadline:
        end_if_told()
    if not done.is_set():
        raise LinkClosed(
            f"--ray: the cluster at {named} did not take this program in within {CONNECT_S:.0f} s: see ray status there"
        )
    if failures:
        raise _explained(named, failures[0]) from failures[0]
    _silence(ray)
    return Connection(ray, True, _head(ray, named))


def _head(ray: Any, named: str) -> str:
    """Of ``ray://`` the address that was named: the other one is of the network inside the cluster."""
    if named.startswith("ray://"):
        return named.removeprefix("ray://")
    return str(ray.get_runtime_context().gcs_address)


def _silence(ray: Any) -> None:
    """Let Ray write nothing into what this program prints: the dumps of a node that has died are in Ray's own logs."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    if hasattr(ray._private.worker, "print_to_stdstream"):  # no public setting reaches these messages
        ray._private.worker.print_to_stdstream = lambda *unused, **named: None
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):  # Ray's own handlers write a dump before they call these
            if (handler := signal.getsignal(number)) is not None:
                signal.signal(number, handler)


def answers(head: str) -> bool:
    """Whether the cluster can be reached. Ray itself would tell after a minute, and then end this process."""
    host, _, port = head.rpartition(":")
    try:
        with contextlib.closing(socket.create_connection((host.strip("[]"), int(port)), REACH_S)):
            return True
    except (OSError, ValueError):
        return False


def _demand_answer(named: str) -> None:
    """Ask a named address for a connection: Ray itself would try for minutes."""
    host, _, port = named.removeprefix("ray://").rpartition(":")
    if named == AUTO or not host or not port.isdigit():
        if named not in (AUTO, "") and not named.startswith("ray://"):
            raise ConfigError(
                f"--ray: expected {AUTO}, an address like 10.0.0.7:6379 or ray://10.0.0.7:10001, got {named!r}"
            )
        return
    try:
        with contextlib.closing(socket.create_connection((host.strip("[]"), int(port)), REACH_S)):
            pass
    except (OSError, OverflowError) as error:
        raise LinkClosed(
            f"--ray: no Ray cluster at {named} ({error}): ray start --head prints the address of one"
        ) from error


def _explained(named: str, error: BaseException) -> Exception:
    text = " ".join(str(error).split())
    if isinstance(error, ConnectionError):
        return LinkClosed(
            f"--ray: no Ray cluster found on this machine ({AUTO}): run ray start --head here, name the address of "
            f"one after --ray, or set RAY_ADDRESS"
            if named == AUTO
            else f"--ray: no Ray cluster at {named}: {text:.200}"
        )
    if "ersion mismatch" in text:
        return ConfigError(f"--ray: the cluster at {named} runs other versions: {text:.300}: use the same here")
    return LinkClosed(
        f"--ray: the cluster at {named} does not take this program in: {type(error).__name__}: {text:.300}"
    )


def draining(ray: Any) -> frozenset[str]:
    """Ids of the nodes that are about to be taken away; none where Ray does not say."""
    try:
        from ray._private.state import state

        return frozenset(state.get_draining_nodes())
    except Exception:  # no public call tells this; over ray:// there is none at all
        return frozenset()
