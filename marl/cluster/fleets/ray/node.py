"""What runs on a node of Ray: an actor that keeps an ordinary child there, in processes of its own."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import marl
from marl.cluster.fleets.local import READY_S, STOP_S, remove_home, serve
from marl.errors import ConfigError, LinkClosed
from marl.processes.bootstrap import start_forkserver
from marl.processes.group import ProcessGroup
from marl.trust.files import create_private
from marl.trust.keys import key_path
from marl.trust.secret import Secret

NAME, LOOK_S = "child", 0.2


class NodeActor:
    """Starts a child on this node, says where it listens, and ends it. Its methods run in threads, side by side.

    The child is a process and not this one: its workers share memory with it, and it handles signals.
    """

    def __init__(self, key: str, workers: int, version: str) -> None:
        """
        Args:
            key: the text of the run's cluster key.
            workers: of the child.
            version: of marl at the parent.

        Raises:
            ConfigError: this node has another version.
        """
        if version != marl.__version__:
            raise ConfigError(f"expected marl {version} on each node, as at the parent, got {marl.__version__} here")
        self._key, self._workers = key, workers
        self._home: Path | None = None
        self._leaving = threading.Event()
        self._group = ProcessGroup(patience=STOP_S, nested=True)
        self._lock = threading.Lock()  # guards _group and _home
        start_forkserver("marl.cluster.worker", "marl.cluster.child")

    def listen(self) -> tuple[str, str]:
        """Start the child. Returns its host and port, and the id of the node.

        Raises:
            LinkClosed: it does not listen.
        """
        import ray

        host = ray.util.get_node_ip_address()
        self._leaving.clear()
        with self._lock:
            if self._home is None:
                self._home = Path(tempfile.mkdtemp(prefix="marl-ray-"))
                create_private(key_path(self._home), Secret(self._key.encode()))
            self._group.start(NAME, serve, self._home, 0, self._workers, host)
            address = self._group.receive(NAME, READY_S)
            if not address:
                failures = [failure.text for _, failure in self._group.check()]
                raise LinkClosed(
                    f"expected a child to listen on {host}, {failures[0] if failures else 'it said nothing'}"
                )
        return str(address), ray.get_runtime_context().get_node_id()

    def watch(self) -> str:
        """Wait until the child has ended. Returns why."""
        while not self._leaving.wait(LOOK_S):
            with self._lock:
                for _, failure in self._group.check():
                    return failure.text
        return "it was told to leave"

    def leave(self) -> None:
        """Let the child hand in its work and end; returns when it has."""
        self._leaving.set()
        with self._lock:
            self._group.close()
            if self._home is not None:
                remove_home(self._home)
                self._home = None
