"""An exchange of gradients: workers compute them, the parent makes the optimizer's steps and sends the weights back.

    marl parent CartPole-v1 --local 2 --exchange tests.extending.gradients:Gradients

A worker waits until the parent has answered its gradient, so each gradient is of weights that are hardly older than
those it moves. A gradient that is under way when a connection breaks is lost.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from marl.algorithms.base import Loss
from marl.data.layout import Layout, Leaf, Tree
from marl.data.node.memory import NUM_VECTORS, STEPS, array
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.exchanges.base import ChildFacts, Exchange, ParentFacts, Worker
from marl.exchanges.child_reports import EVERY, Reporter, acknowledge, read_report, report_buffers
from marl.exchanges.member import Member
from marl.exchanges.run import RunSettings
from marl.exchanges.sides import Answer, Global, State
from marl.training.flat import Flat, num_parameters
from marl.training.learned_weights import clipped_gradient
from marl.training.optimizers import make_optimizer
from marl.wire.header import Header
from marl.wire.message import Kind, Message, count_of
from marl.wire.receive_buffers import buffers_of, no_buffers

MADE, ANSWERED = range(2)  # columns of the counts
PAUSE_S = 0.001  # between two looks for a gradient


def gradient_fields(size: int, workers: int) -> dict[str, Tree]:
    """What a node's memory needs: the last gradient [size] of each worker, and its learning rate."""
    return {
        "gradients": Leaf((workers, size), torch.float32),
        "gradient_counts": Leaf((workers, 8), torch.int64),
        "rates": Leaf((workers, 8), torch.float64),
    }


class SentGradients:
    """A worker's role: its gradients go to the contact, its weights are those of the node. See ``LearnedWeights``."""

    def __init__(self, local: Flat, block: SharedBlock, worker: int) -> None:
        self.vector, self.num_parameters = block["weights"], local.gradient.numel()
        self._local, self._gradient, self._rate = local, block["gradients"][worker], array(block, "rates")[worker]
        self._counts, self._stop = array(block, "gradient_counts")[worker], array(block, "stop")

    def fetch(self) -> None:
        """The network takes the newest weights."""
        self._local.weights.copy_(self.vector)

    def step(self, loss: Loss, rate: float, max_norm: float) -> float:
        """Hand the gradient on, and wait until the parent has answered."""
        self._wait()  # for the last gradient of the worker before this one, if that was killed
        norm = clipped_gradient(self._local, loss, max_norm)
        if norm < float("inf"):
            self._gradient.copy_(self._local.gradient)
            self._rate[0] = rate
            self._counts[MADE] += 1
            self._wait()
        return norm

    def _wait(self) -> None:
        while self._counts[ANSWERED] < self._counts[MADE] and not self._stop[0]:
            time.sleep(0.0005)  # poll: a lock would stay locked if a process died with it


class GradientsChild:
    """See ``Serving``. One gradient is under way at a time; all workers take turns."""

    def __init__(self, facts: ChildFacts) -> None:
        self.started = threading.Event()
        self.version = self.term = 0
        self._facts, block = facts, facts.block
        self._block, self._weights, self._scratch = block, block["weights"], torch.zeros_like(block["weights"])
        self._gradients, self._rates = block["gradients"], array(block, "rates")
        self._counts, self._counters = array(block, "gradient_counts"), array(block, "counters")
        self._reporter = Reporter(block)
        self._worker = 0  # whose turn it is, or whose gradient is under way
        self._under_way = False
        self._counter = self._told = self._telling = 0  # uploads; environment steps told to the parent, and being told

    def joined(self) -> None:
        self._reporter.joined()
        self._answered()

    def _answered(self) -> None:
        """The worker whose gradient was under way goes on."""
        if self._under_way:
            self._counts[self._worker, ANSWERED] += 1
        self._under_way, self._worker = False, (self._worker + 1) % len(self._counts)

    def outgoing(self) -> Iterator[Message]:
        if self._reporter.due():
            yield from self._reporter.messages(self._facts.name, self._facts.restarts())
        waiting = self._counts[:, MADE] > self._counts[:, ANSWERED]
        if self._under_way or not self.started.is_set() or not waiting.any():
            return
        while not waiting[self._worker]:
            self._worker = (self._worker + 1) % len(waiting)
        self._under_way, self._counter = True, self._counter + 1
        self._telling = int(self._counters[:, STEPS].sum())
        info = {"rate": float(self._rates[self._worker, 0]), "work": self._telling - self._told}
        gradient = {"gradient": self._gradients[self._worker]}
        yield Message(Kind.UPLOAD, self._facts.name, self.term, self.version, self._counter, gradient, info)

    def pause(self) -> float:
        return EVERY if self._under_way else PAUSE_S

    def receive_buffers(self, header: Header) -> Mapping[str, memoryview]:
        return buffers_of({"weights": self._scratch})(header) if header.manifest else no_buffers(header)

    def accept(self, message: Message) -> None:
        if message.kind is Kind.TELEMETRY:
            return self._reporter.acknowledged(message)
        self._weights.copy_(self._scratch)
        self.term, self.version = message.term, message.version
        self._block["base_steps"].fill_(count_of(message, "steps"))
        self._block["version"].fill_(message.version)
        self.started.set()
        if self._under_way:
            self._told = self._telling
            self._answered()

    def rejected(self, reason: str) -> None:
        self._facts.note(reason)
        self._answered()

    def return_mean(self) -> float | None:
        return self._reporter.return_mean()

    def remember(self) -> None:
        self._reporter.gather()

    def flush_stragglers(self) -> None: ...

    def leave(self) -> None: ...

    def left(self) -> None: ...


class GradientsParent:
    """See ``RunSide``. A resumed parent goes on from the weights, with a new state of the optimizer."""

    def __init__(self, facts: ParentFacts) -> None:
        self.term, self.members = facts.term, dict[str, Member]()
        self.current = Global(facts.version, facts.weights.clone(), None, facts.steps)
        self._facts, count = facts, facts.num_parameters
        self._optimizer = make_optimizer(facts.run.optimizer, torch.zeros(NUM_VECTORS, count), torch.zeros(1))
        self._arriving: dict[str, Tensor] = {}
        self._lock = threading.Lock()  # guards ``current`` and the optimizer

    def join(self, child: str) -> Answer:
        self.members.setdefault(child, Member(child)).live = True
        self._arriving[child] = torch.zeros(self._facts.num_parameters)
        return self._newest()

    def leave(self, child: str) -> None:
        self.members[child].live = False

    def _newest(self) -> Answer:
        now = self.current
        arrays, info = {"weights": now.weights}, {"steps": now.steps}
        return Answer(Message(Kind.ANSWER, self._facts.name, self.term, now.version, arrays=arrays, info=info))

    def receive_buffers(self, child: str, header: Header) -> Mapping[str, memoryview]:
        if header.kind is Kind.TELEMETRY:
            return report_buffers(header)
        return (
            buffers_of({"gradient": self._arriving[child]})(header)
            if header.kind is Kind.UPLOAD
            else no_buffers(header)
        )

    def answer(self, child: str, message: Message) -> Answer | None:
        if message.kind is Kind.TELEMETRY:
            return acknowledge(self._facts.name, child, read_report(message), self._facts.hear)
        member = self.members[child]
        if message.kind is Kind.UPLOAD and message.counter > member.last_counter:
            member.last_counter = message.counter
            self._step(self._arriving[child], message)
        return self._newest()

    def _step(self, gradient: Tensor, upload: Message) -> None:
        """Move the weights along the gradient: one step of the run's optimizer, one version."""
        rate = upload.info.get("rate")
        if not isinstance(rate, float) or not torch.isfinite(gradient).all():
            return
        with self._lock:
            now = self.current
            weights = now.weights.clone()  # others may be reading the last ones
            self._optimizer.step(weights[: len(gradient)], gradient, rate)
            self.current = Global(now.version + 1, weights, None, now.steps + count_of(upload, "work"))

    def rejected(self, child: str, reason: str) -> Answer | None:
        self._facts.note(f"{child}: {reason}")
        return self._newest()

    def patience(self, child: str) -> float:
        return EVERY

    def late(self, child: str) -> Answer | None: ...

    def forget(self, child: str) -> None:
        self.members.pop(child, None)

    def saved(self) -> State:
        return State(self.current)

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int], limits: Mapping[str, Any]) -> None: ...

    def assign_rank(self, child: str, rank: int, workers: int) -> None: ...

    def release(self) -> None: ...

    def catch_up(self, steps: int) -> None: ...

    def last_round(self, seconds: float) -> None: ...

    def close(self) -> None: ...

    def audited(self) -> None: ...


@dataclass(frozen=True)
class Gradients(Exchange):
    """What a worker does, what lies in a node's memory, what a message carries, and the two sides."""

    def rules(self, run: RunSettings) -> None:
        if run.environment.normalize_observations or run.environment.normalize_rewards:
            raise ConfigError(f"exchange.name: {self.name} carries no statistics of a normaliser: normalise nothing")

    def demand_alone(self) -> None:
        raise ConfigError(f"exchange.name: {self.name} needs children: name some (-ip, --local)")

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        return gradient_fields(num_parameters(network), workers)

    def payload(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> Layout:
        return Layout({"gradient": Leaf((num_parameters(network),), torch.float32)})

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        return self.payload(run, spaces, network).num_bytes

    def work(self, worker: Worker) -> None:
        worker.learn(weights=lambda local: SentGradients(local, worker.block, worker.number))

    def child(self, facts: ChildFacts) -> GradientsChild:
        return GradientsChild(facts)

    def parent(self, facts: ParentFacts) -> GradientsParent:
        return GradientsParent(facts)
