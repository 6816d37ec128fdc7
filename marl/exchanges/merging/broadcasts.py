"""The parent's broadcasts to a child: a delta of the weights, all weights, or a message that there are no new ones."""

import torch

from marl.exchanges.child_reports import report_every
from marl.exchanges.member import Member
from marl.exchanges.merging.merger import Merger
from marl.exchanges.merging.moments import NAME as MOMENTS
from marl.exchanges.merging.moments import STEPS as MOMENT_STEPS
from marl.exchanges.sides import Answer
from marl.wire.arrays import digest_of
from marl.wire.message import Array, Kind, Message, Value


class Broadcasts:
    """Makes broadcasts. The part that is the same for all children is made and hashed once per version. Not locked."""

    def __init__(self, merger: Merger, *, name: str, term: int) -> None:
        self._merger, self._name, self._term = merger, name, term
        self._shared: dict[tuple[int, str], Answer] = {}  # of the current version, by kind

    def to(self, member: Member, refusal: str | None, *, num_children: int) -> Answer:
        """The broadcast for ``member`` now.

        Args:
            refusal: why its last upload was not used.
        """
        version, kind = self._merger.current.version, self._kind_for(member, refusal is not None)
        shared = self._shared.get((version, kind))
        if shared is None:
            shared = self._make(kind)
            self._shared = {key: each for key, each in self._shared.items() if key[0] == version}
            self._shared[version, kind] = shared
        info: dict[str, Value] = {**shared.message.info, "merged": member.merged_counter}
        info["report_every"] = report_every(num_children)
        if refusal:
            info["refused"] = refusal[:1000]
        if kind != "weights":
            info["base"] = member.version
        return Answer(shared.message._replace(info=info), shared.digest)

    def _kind_for(self, member: Member, refused: bool) -> str:
        """Kind of broadcast: "nothing" if it has the newest version, "delta" if the one before, else "weights"."""
        current = self._merger.current
        if refused or member.version is None:
            return "weights"
        if member.version == current.version:
            return "nothing"
        return "delta" if current.delta is not None and member.version == current.version - 1 else "weights"

    def _make(self, kind: str) -> Answer:
        current = self._merger.current
        arrays: dict[str, Array] = {}
        info: dict[str, Value] = {"steps": current.steps, "codec": self._merger.codec}
        if kind != "nothing" and current.statistics is not None:
            arrays["normalizer"] = current.statistics
        if kind != "nothing" and current.moments is not None:
            arrays[MOMENTS], info[MOMENT_STEPS] = current.moments
        if kind == "weights":
            arrays["weights"] = current.weights
        elif kind == "delta" and current.delta is not None:
            arrays["change" if current.delta.dtype == torch.uint8 else "part"] = current.delta
        digest = digest_of(arrays)
        if kind == "delta" and current.name is not None:
            info["hash"] = current.name.result()
        message = Message(Kind.ANSWER, self._name, self._term, current.version, arrays=arrays, info=info)
        return Answer(message, digest)
