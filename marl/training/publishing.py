"""How often a learner's weights become a new version: after each batch that led to an update."""

from collections.abc import Callable

from marl.data.node.memory import array
from marl.data.node.trajectory_queue import Published
from marl.data.shared import SharedBlock
from marl.training.learned_weights import DeviceWeights, SharedWeights
from marl.training.worker_metrics import Telemetry


class Publishing:
    """What a learner does between two batches; ``train`` calls it as ``go_on``."""

    def __init__(
        self,
        block: SharedBlock,
        weights: SharedWeights | DeviceWeights,
        telemetry: Telemetry,
        wait: Callable[[], bool],
    ) -> None:
        """``wait`` for the next batch; it returns False if the learner is to stop."""
        self._newest, self._version, self._published = block["weights"], array(block, "version"), Published(block)
        self._weights, self._telemetry, self._wait = weights, telemetry, wait
        self._updates = telemetry.updates()  # not 0 if a learner before this one died

    def __call__(self) -> bool:
        """If the last batch led to an update, publish the weights as a new version. Then wait for the next batch.

        A batch leads to no update if no sample of the replay is due, or if its gradients are not finite.
        """
        if self._telemetry.updates() > self._updates:
            self._updates = self._telemetry.updates()
            self._version[0] += 1
            self._weights.save()
            self._published.publish(self._newest, int(self._version[0]))
        return self._wait()
