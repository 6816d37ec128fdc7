"""Decides which parent may write to a run folder: a parent must stop if another one has resumed the run."""

import contextlib
import secrets

from marl.files import read_file
from marl.reports.run_folder import RunFolder, write_atomic

LEADER = "leader"  # file of a run folder
MAX_LEADER = 1_000  # bytes


class Leader:
    """The claim of one parent to its run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self.instance = secrets.token_hex(8)  # of this parent; no two have the same
        self._path = folder.path / LEADER

    def take(self) -> None:
        """Claim the folder. An older parent notices this at its next ``holds``."""
        with contextlib.suppress(OSError):  # the children still refuse an older parent
            write_atomic(self._path, self.instance.encode())

    def holds(self) -> bool:
        """Whether nobody else has claimed it since."""
        try:
            return read_file(self._path, MAX_LEADER) == self.instance.encode()
        except OSError:
            return True
