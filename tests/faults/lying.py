"""``python -m tests.faults.lying LIE ...``: the real ``marl child``, but for what it uploads; see ``lies.py``."""

import sys

from marl.cli.main import main
from marl.cluster import child
from marl.exchanges.weights.child import WeightsChild
from marl.wire.message import Kind
from tests.faults.lies import LIES, Truth


def lie(name: str) -> None:
    """Have this process's child say it from now on."""
    tell, count = LIES[name], 0
    honest = WeightsChild.outgoing

    def outgoing(self: WeightsChild):  # type: ignore[no-untyped-def]
        nonlocal count
        for message in honest(self):
            if message.kind is not Kind.UPLOAD:
                yield message
                continue
            arrays = {key: array.clone() for key, array in message.arrays.items()}  # type: ignore[union-attr]
            yield from tell(Truth(message._replace(arrays=arrays), self._g, count))
            count += 1

    WeightsChild.outgoing = outgoing  # type: ignore[method-assign]
    child.stop_with_stdin = lambda event: None  # type: ignore[attr-defined]


if __name__ == "__main__":
    lie(sys.argv.pop(1))
    sys.argv[1:] = ["child", *sys.argv[1:], "--contact"]
    main()
