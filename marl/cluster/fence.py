"""Remembers the newest parent of each run, also when the child restarts: an older parent cannot come back."""

import contextlib
import hashlib
import json
from pathlib import Path

from marl.errors import HandshakeRefused
from marl.files import parse_json, read_file
from marl.reports.run_folder import write_atomic
from marl.wire.hello import Hello

MAX_ENTRY = 1_000  # bytes of what is remembered of a run
MOST_RUNS = 100  # remembered; the oldest are forgotten


class Fence:
    """Refuses a parent that is older than the newest parent seen of the same run."""

    def __init__(self, home: Path, node: str) -> None:
        self._folder = home / "runs" / hashlib.sha256(node.encode()).hexdigest()[:16]
        self._seen: dict[str, tuple[int, str]] = {}

    def check(self, hello: Hello) -> None:
        """Let a parent in and remember it.

        Raises:
            HandshakeRefused: a newer parent of the same run has been here.
        """
        path = self._folder / f"{hashlib.sha256(hello.run_id.encode()).hexdigest()[:32]}.json"
        term, instance = max(_read(path), self._seen.get(hello.run_id, (-1, "")))
        if (hello.term, hello.instance) == (term, instance):
            return
        if hello.term <= term:
            raise HandshakeRefused(
                f"this run goes on under another parent: expected term {term + 1} or later, got {hello.term}; "
                "only one parent may lead a run: stop the older one",
                superseded=True,
            )
        self._seen[hello.run_id] = hello.term, hello.instance
        with contextlib.suppress(OSError):  # a full disk: forgotten at the next restart, but the run is served
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps({"epoch": hello.term, "instance": hello.instance}).encode())
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        files = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[:-MOST_RUNS]:
            path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[int, str]:
    try:
        seen = parse_json(read_file(path, MAX_ENTRY))
        return int(seen["epoch"]), str(seen["instance"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1, ""
