"""What runs on a node of Ray: an actor that keeps an ordinary child there, in processes of its own."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection
from pathlib import Path

import marl
from marl.cluster.fleets.local import READY_S, STOP_S, remove_home, serve
from marl.cluster.fleets.ray.homes import new_home
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
        self._group = ProcessGroup(patience=STOP_S, nested=True)
        self._changed = threading.Condition()  # guards _group, _home, _starts and _ended; told of new _starts
        self._starts = 0  # of a child, and ends by ``leave``
        self._ended = ""  # why the newest has ended
        start_forkserver("marl.cluster.worker", "marl.cluster.child")

    def listen(self) -> tuple[str, str, int]:
        """Start a child, in place of one that there may be. Returns its host and port, the id of the node, and what to
        ``watch`` it by.

        Raises:
            LinkClosed: it does not listen.
        """
        import ray

        host = ray.util.get_node_ip_address()
        with self._changed:
            self._group.close()
            self._starts, self._ended = self._starts + 1, ""
            self._changed.notify_all()
            if self._home is None:
                self._home = new_home()
                create_private(key_path(self._home), Secret(self._key.encode()))
            self._group.start(NAME, serve_shown, self._home, self._workers, host)
            address = self._group.receive(NAME, READY_S)
            if not address:
                failures = [failure.text for _, failure in self._group.check()]
                why = failures[0] if failures else "it said nothing"
                raise LinkClosed(f"expected a child to listen on {host}, {why}")
            return str(address), ray.get_runtime_context().get_node_id(), self._starts

    def watch(self, start: int) -> str:
        """Wait until that child has ended. Returns why."""
        with self._changed:
            while start == self._starts:
                for _, failure in self._group.check():
                    self._ended = failure.text
                if self._ended:
                    return self._ended
                self._changed.wait(LOOK_S)  # the end of a process tells no condition
            return "it was told to leave"

    def leave(self) -> None:
        """Let the child hand in its work and end; returns when it has."""
        with self._changed:
            self._starts += 1
            self._changed.notify_all()
            self._group.close()
            if self._home is not None:
                remove_home(self._home)
                self._home = None


def serve_shown(pipe: Connection, home: Path, workers: int, host: str) -> None:
    """Run a child that prints what ``marl child`` does: where Ray keeps the logs of its actor."""
    from marl.reports.sinks.child_view import ChildView

    serve(pipe, home, 0, workers, host, {"terminal": ChildView()})
