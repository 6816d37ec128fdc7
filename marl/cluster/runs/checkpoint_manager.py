"""Keeps what a run has learned: checkpoints to go on from, the best weights by evaluation, the weights file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from marl import __version__
from marl.cluster.runs.evaluator import Score
from marl.cluster.runs.restore import read_into
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config, to_tree
from marl.data.normalizer import as_row
from marl.data.spaces import Spaces
from marl.data.stored import as_plain, is_count
from marl.errors import KeyFileError, WeightsFileError
from marl.reports.run_folder import RunFolder, write_atomic
from marl.training.saved.checkpoint import BackgroundWriter
from marl.training.saved.weights_file import network_tensors, to_bytes
from marl.trust.seal import make_seal_key
from marl.trust.secret import Secret

CHECKPOINT, BEST = "checkpoint.pt", "best.pt"


def latest_checkpoint(folder: RunFolder) -> Path:
    """Where a run keeps what it needs to go on."""
    return folder.path / CHECKPOINT


def find_seal_key(note: Callable[[str], None] = lambda unused: None) -> Secret | None:
    """This user's key to seal the files of a run. None if it cannot be used: files are then not sealed, with a note."""
    try:
        return make_seal_key()
    except KeyFileError as error:
        note(f"the files of this run are not sealed, so that code of your own in them will need --allow: {error}")
        return None


class CheckpointManager:
    """Writes a run's files in the background; remembers the best score."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        network: nn.Module,
        weights: Tensor,
        folder: RunFolder,
        writer: BackgroundWriter,
        key: Secret | None,
        *,
        out: str = "",
    ) -> None:
        """
        Args:
            out: where the run is to write its weights file, for whoever resumes it.
            network: the writer's thread makes files with it, so use it nowhere else after the first write;
                ``weights`` [N] are its numbers as one vector.
            key: seals the files, see ``marl/trust/seal.py``.
        """
        self.best: Score | None = None
        self.best_mean = float("-inf")
        self._best_info: dict[str, Any] = {}  # the evaluation that chose the best weights
        self._config, self._spaces, self._folder, self._writer = config, spaces, folder, writer
        self._key, self._network, self._weights, self._out = key, network, weights, out

    def keep_if_best(self, score: Score, keep_anyway: bool = False) -> None:
        """Keep the weights of a score if they are the best so far, or if ``keep_anyway`` is set."""
        if score.mean > self.best_mean or keep_anyway:
            self.best, self.best_mean = score, score.mean
            episodes = self._config.evaluation.episodes
            numbers = {
                "mean": score.mean,
                "std": score.std,
                "episodes": episodes,
                "cut": score.cut,
                "limit": score.limit,
            }
            info = self._best_info = {"selection": numbers}
            self._writer.write(self._folder.path / BEST, lambda: self._bytes(score.snapshot, {}, info))

    def checkpoint(self, snapshot: Snapshot, info: dict[str, Any], done: Callable[[], None] = lambda: None) -> None:
        """Save everything needed to go on, then call ``done``; ``info`` is what is not a tensor."""
        best = None if self.best_mean == float("-inf") else self.best_mean
        everything = {**info, "updates": snapshot.updates, "best_mean": best, "out": self._out}
        self._writer.write(
            self._folder.path / CHECKPOINT, lambda: self._bytes(snapshot, dict(snapshot.tensors), everything), done
        )

    def recall(self, best_mean: float) -> None:
        """Load the best weights of the resumed run. If their file is unusable, the next evaluated ones are the best."""
        try:
            file = read_into(self._network, self._folder.path / BEST, self._spaces, self._config.environment.id)
        except WeightsFileError:
            return
        if not is_count(file.info.get("steps")):
            return
        tensors = {"weights": self._weights.clone()}
        if "normalizer" in file.tensors:
            tensors["observations"] = file.tensors["normalizer"][None]
        self.best = Score(Snapshot(tensors, file.info["steps"], 0), best_mean, 0.0)
        self.best_mean = best_mean
        self._best_info = {name: file.info[name] for name in ("selection",) if name in file.info}

    def write_weights(self, last: Snapshot, out: Path, info: dict[str, Any]) -> None:
        """Write the weights file, with ``info``: the best weights evaluated so far, or ``last`` if there are none.

        Raises:
            OSError: it cannot be written.
        """
        if self.best is None:
            write_atomic(out, self._bytes(last, {}, info))
        else:
            write_atomic(out, self._bytes(self.best.snapshot, {}, {**self._best_info, **info}))

    def _bytes(self, snapshot: Snapshot, more: dict[str, Tensor], info: dict[str, Any]) -> bytes:
        with torch.no_grad():
            self._weights.copy_(snapshot.tensors["weights"])
        tensors = network_tensors(self._network)
        statistics = snapshot.statistics()
        if statistics is not None:
            tensors["normalizer"] = torch.from_numpy(as_row(statistics))
        described = {
            "config": to_tree(self._config),
            "spaces": as_plain(self._spaces),
            "steps": snapshot.steps,
            "marl": __version__,
            "torch": torch.__version__,
        }
        return to_bytes({**tensors, **more}, {**described, **info}, self._key)
