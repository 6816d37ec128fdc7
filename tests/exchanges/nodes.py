"""A child without processes and a parent without links: memory moved by hand, seconds that pass when a test says so."""

import threading
from collections.abc import Callable

import numpy as np
import torch

from marl.averaging.reach import Reach
from marl.data.node.memory import STEPS, array, node_memory
from marl.data.normalizer import as_row, statistics_of
from marl.exchanges.merging.exchange import Merging
from marl.exchanges.merging.parent import MergingParent
from marl.exchanges.merging.rest import rest_fields
from marl.exchanges.pairwise.exchange import Pairwise
from marl.exchanges.run import RunSettings
from marl.exchanges.sides import Answer
from marl.exchanges.weights.exchange import Weights
from marl.training.optimizers import OptimizerSettings, moments_of
from marl.wire.message import Kind, Message
from marl.wire.payload import Incoming, Outgoing, ReceiveBuffers

SIZE, OBSERVATION, SEEN_BESIDE = 300, 2, 100.0


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_exchange(name: str = "weights", **settings: object) -> Merging:
    """One that merges weights, with these settings."""
    return {"weights": Weights, "pairwise": Pairwise}[name](**settings)  # type: ignore[arg-type]


class Child:
    """A child's side with its node's memory."""

    def __init__(
        self,
        node: str,
        clock: Clock,
        workers: int = 2,
        normalizes: bool = False,
        deterministic: bool = False,
        **settings: object,
    ) -> None:
        self.name = node
        self.block = node_memory(
            num_weights=SIZE,
            num_parameters=SIZE,
            observation_size=OBSERVATION,
            workers=workers,
            more=rest_fields(workers),
        )
        self.notes: list[str] = []
        exchange = make_exchange(**settings)
        self.side = exchange.child_class()(
            self.block,
            exchange,
            name=node,
            normalizes=normalizes,
            deterministic=deterministic,
            note=self.notes.append,
            clock=clock,
            moments=moments_of(OptimizerSettings(), exchange.moments),
        )
        self.side.joined()

    @property
    def shared(self) -> torch.Tensor:
        """The live weights, as the workers see them."""
        return self.block["weights"]

    def learn(self, delta: float | torch.Tensor, steps: int, worker: int = 0) -> None:
        """What a worker does: steps in the environment, and weights that move."""
        self.shared.add_(delta)
        array(self.block, "counters")[worker, STEPS] += steps

    def see(self, observations: list[list[float]], worker: int = 0) -> None:
        """All that a worker has observed so far."""
        array(self.block, "observations")[1 + worker] = as_row(statistics_of(np.array(observations)))

    def due(self) -> list[Kind]:
        """Kinds of what the child would send now, but for telemetry."""
        return [each.kind for each in self.side.outgoing() if each.kind is not Kind.TELEMETRY]

    def upload(self) -> Message:
        """An upload, whatever the trigger says."""
        self.side.flush_stragglers()
        (upload,) = [each for each in self.side.outgoing() if each.kind is Kind.UPLOAD]
        return upload

    def take(self, answer: Answer | None) -> None:
        """An answer arrives."""
        assert answer is not None
        self.side.accept(carried(answer.message, self.side.receive_buffers, answer.digest))


def make_parent(
    weights: torch.Tensor,
    clock: Clock,
    normalizes: bool = False,
    reach: Reach | None = None,
    note: Callable[[str], None] = lambda text: None,
    **settings: object,
) -> MergingParent:
    """A parent of these weights."""
    exchange = make_exchange(**settings)
    return exchange.parent_class()(
        weights,
        exchange,
        name="parent",
        observation_size=OBSERVATION if normalizes else 0,
        seen_beside=SEEN_BESIDE,
        reach=reach,
        moments=exchange.merged_moments(RunSettings(), SIZE),
        note=note,
        clock=clock,
    )


def carried(message: Message, buffers: ReceiveBuffers, digest: bytes | None = None) -> Message:
    """The message as a link hands it over: through bytes, into the receiver's own memory."""
    out = Outgoing(message, digest)
    incoming = Incoming(out.header, buffers)
    for chunk in out.chunks():
        incoming.put(chunk)
    return incoming.finish(out.seal())


def arrives(parent: MergingParent, upload: Message) -> Answer | None:
    """An upload reaches the parent; its answer, which waits for the round."""
    child = upload.sender
    return parent.answer(child, carried(upload, lambda header: parent.receive_buffers(child, header)))


class Waiting:
    """An upload whose answer is awaited in a thread, as a conversation does."""

    def __init__(self, parent: MergingParent, upload: Message) -> None:
        self._answers: list[Answer | None] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(arrives(parent, upload)), daemon=True)
        self._thread.start()

    def answer(self) -> Answer | None:
        """The answer; fails if it does not come."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self._answers[0]


def merged_count(parent: MergingParent, count: int) -> None:
    """Wait until the open round has so many uploads."""
    with parent._changed:
        while sum(member.uploaded for member in parent.members.values()) < count:
            parent._changed.wait(0.0001)  # nobody is told of an upload that closes no round


def a_round(parent: MergingParent, clock: Clock, children: list[Child]) -> None:
    """Every child uploads, the round closes, every child takes its answer."""
    clock.now += 5
    waiting = [Waiting(parent, child.upload()) for child in children[:-1]]
    merged_count(parent, len(waiting))
    last = arrives(parent, children[-1].upload())
    for child, each in zip(children, waiting, strict=False):
        child.take(each.answer())
    children[-1].take(last)


def join(parent: MergingParent, clock: Clock, *names: str, **settings: object) -> list[Child]:
    children = [Child(name, clock, **settings) for name in names]  # type: ignore[arg-type]
    for child in children:
        child.take(parent.join(child.name))
    return children


def weights(value: float) -> torch.Tensor:
    return torch.full((SIZE,), value)


def flushed(child: Child) -> list[Message]:
    child.side.flush_stragglers()
    return list(child.side.outgoing())[-2:]
