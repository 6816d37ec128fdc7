"""How many bytes of trajectories a second reach a learner's batches, against what the link itself carries?

    python benchmarks/experience.py --kibibytes 64 1024 --turns 5

Three processes: a child whose send queue is always full, a parent, and a learner that only makes batches;
wss with mutual TLS on loopback. In the same turn the same link carries bare messages of the same size, one way. Ratios
of a turn, medians over the turns. Then how old trajectories are when a learner learns from them: a short IMPALA run.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import torch

from marl.data.layout import Layout, Leaf
from marl.data.node.memory import node_memory
from marl.data.node.send_queue import RING_LENGTH, Posted, Sender, SendQueue, send_queue_fields
from marl.data.node.trajectory_queue import Published, TrajectoryQueue, flow, trajectory_queue_fields
from marl.data.replay.rollout import rollout_tree
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.exchanges.conversation import converse, report
from marl.exchanges.experience.child import ExperienceChild
from marl.exchanges.experience.parent import ExperienceParent
from marl.exchanges.experience.settings import PER_MESSAGE
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.training.arrivals import Arrivals
from marl.trust.identity import identity_from_keys
from marl.trust.keys import create_keys, load_keys
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import buffers_of
from measure import ROOT, busy_share, keep, machine, run_json, table

MIB = 1024 * 1024
TO_REACH = 0.6
WEIGHTS, WORKERS, QUEUE, BATCH = 10_000, 4, 32, 4
LENGTH, ENVIRONMENTS = 16, 8
LIMIT = 2**40
QUEUES, ALLOWED = (2, 4, 16, 64), 32  # of the training runs


class Turn(NamedTuple):
    """Bytes a second."""

    exchange: float
    link: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kibibytes", type=int, nargs="+", default=[64, 1024], help="of a trajectory")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--training-seconds", type=float, default=10.0, help="of the IMPALA run; 0: none")
    options = parser.parse_args()
    busy = busy_share()
    rows, records = [], {}
    for size in options.kibibytes:
        layout = layout_of(size * 1024)
        with tempfile.TemporaryDirectory() as folder, Cluster(layout, Path(folder) / "key") as cluster:
            cluster.turn(0.5)  # touches new memory
            turns = [cluster.turn(options.seconds) for _ in range(options.turns)]
        ratios = [turn.exchange / turn.link for turn in turns]
        middle = [statistics.median(column) / MIB for column in zip(*turns, strict=True)]
        spread = f"{statistics.median(ratios):.2f}x [{min(ratios):.2f}-{max(ratios):.2f}]"
        rows.append(
            [f"{layout.num_bytes / 1024:.0f} KiB", f"{middle[0]:.0f}", f"{middle[1]:.0f}", spread, f">= {TO_REACH}x"]
        )
        records[f"{size} KiB"] = [turn._asdict() for turn in turns]
    print(f"\nOne child, one parent, one learner on loopback; {busy:.0%} busy before.\n{machine()}\n")
    print(table(["trajectory", "MiB/s into batches", "MiB/s of the link", "ratio", "to reach"], rows))
    ages = [staleness(options.training_seconds, queue) for queue in QUEUES if options.training_seconds]
    if ages:
        print(
            f"\nIMPALA on CartPole-v1, two actors, {options.training_seconds:g} s: how old, in versions, and how fast\n"
        )
        print(table(["queue", "mean", "median", "99 of 100", "oldest", "allowed", "dropped", "steps/s"], ages))
    keep("experience", {"arguments": vars(options), "turns": records, "staleness": ages, "busy_before": busy})


def layout_of(num_bytes: int) -> Layout:
    """Trajectories of about so many bytes, nearly all of them observations."""
    observation = max(1, num_bytes // (4 * (LENGTH + 1) * ENVIRONMENTS))
    return Layout(
        rollout_tree(
            length=LENGTH,
            environments=ENVIRONMENTS,
            observation=Leaf((observation,), torch.float32),
            action=Leaf((), torch.int64, (4,)),
            num_parameters=4,
        )
    )


def played(layout: Layout) -> Trajectory:
    """A trajectory that fits."""
    size = layout.tree["observations"].shape[-1]
    flags = torch.zeros(LENGTH, ENVIRONMENTS, dtype=torch.bool)
    return Trajectory(
        observations=torch.randn(LENGTH + 1, ENVIRONMENTS, size),
        actions=torch.zeros(LENGTH, ENVIRONMENTS, dtype=torch.int64),
        rewards=torch.ones(LENGTH, ENVIRONMENTS),
        terminated=flags,
        truncated=flags,
        valid=~flags,
        last_observations=torch.zeros(0, size),
        last_index=torch.zeros(0, dtype=torch.int64),
        behaviour=torch.zeros(LENGTH, ENVIRONMENTS, 4),
        version=0,
    )


class Endless(Sender):
    """An send_queue that is always full."""

    def waiting(self, most: int) -> list[Posted]:
        """See ``Sender``."""
        places = [(worker, place) for place in range(RING_LENGTH) for worker in range(WORKERS)]
        return [Posted(worker, self._rollouts[worker, place]) for worker, place in places[:most]]

    def taken(self, rollouts: list[Posted]) -> None:
        """They are there again at once."""


class Cluster:
    """Three processes for one size of trajectory."""

    def __init__(self, layout: Layout, key: Path) -> None:
        create_keys(key)
        context = multiprocessing.get_context("spawn")
        self._layout = layout
        self.block = node_memory(
            num_weights=WEIGHTS,
            num_parameters=1,
            observation_size=1,
            workers=1,
            more=trajectory_queue_fields(layout, QUEUE + BATCH - 1, WEIGHTS),
        )
        Published(self.block).publish(torch.zeros(WEIGHTS), 0)
        ours, theirs = context.Pipe()
        self._child_pipe = ours
        self._processes = [context.Process(target=be_child, args=(theirs, layout, key), daemon=True)]
        self._processes[0].start()
        self._parent_pipe, theirs = context.Pipe()
        self._processes += [
            context.Process(target=be_parent, args=(theirs, layout, key, ours.recv(), self.block), daemon=True),
            context.Process(target=be_learner, args=(layout, self.block), daemon=True),
        ]
        for process in self._processes[1:]:
            process.start()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *unused: object) -> None:
        self.block["stop"].fill_(1)
        for pipe in (self._child_pipe, self._parent_pipe):
            pipe.send("end")
        for process in self._processes:
            process.join(10)

    def turn(self, seconds: float) -> Turn:
        """The exchange, then the bare link."""
        found = []
        for way in ("exchange", "link"):
            self._child_pipe.send(way)
            self._parent_pipe.send((way, seconds))
            found.append(self._parent_pipe.recv())
            assert self._child_pipe.recv() == "done"
        return Turn(*found)


def be_learner(layout: Layout, block: SharedBlock) -> None:
    """Put trajectories side by side, no more."""
    torch.set_num_threads(1)
    arrivals = Arrivals(block, layout, batch=BATCH, max_staleness=0, device=torch.device("cpu"))
    while arrivals.wait():
        arrivals.collect(None, 0)  # type: ignore[arg-type]


def be_child(pipe: Connection, layout: Layout, key: Path) -> None:
    """Send trajectories, or bare messages, until the other side has had enough."""
    torch.set_num_threads(1)
    identity = identity_from_keys(load_keys(key), "child", "bench")
    block = node_memory(
        num_weights=WEIGHTS,
        num_parameters=1,
        observation_size=1,
        workers=WORKERS,
        more=send_queue_fields(layout, WORKERS),
    )
    for worker in range(WORKERS):
        send_queue = SendQueue(block, worker, layout)
        for _ in range(RING_LENGTH):
            send_queue.put(played(layout), None)
    arrays = {f"trajectory{number}": block["send_queue"].flatten(0, 1)[number] for number in range(PER_MESSAGE)}
    came: Queue[WebSocketLink] = Queue()
    with IOLoop() as io, Server(io, "127.0.0.1", 0, identity, came.put, print) as server:
        pipe.send(server.port)
        while (way := pipe.recv()) != "end":
            link = came.get()
            link.limit(LIMIT)
            if way == "exchange":
                side = ExperienceChild(block, name="bench", normalizes=False)
                side._sender = Endless(block)
                report(link, side, threading.Event(), name="bench")
            else:
                over = threading.Event()
                ending = threading.Thread(target=wait_for_word, args=(link, over))
                ending.start()
                while not over.is_set():
                    link.send(Message(Kind.UPLOAD, "bench", arrays=arrays))
                link.send(Message(Kind.STOP, "bench"))
                ending.join()
            link.close()
            pipe.send("done")


def wait_for_word(link: WebSocketLink, over: threading.Event) -> None:
    """Until the other side says anything."""
    link.recv(600.0, buffers_of({}))
    over.set()


def be_parent(pipe: Connection, layout: Layout, key: Path, port: int, block: SharedBlock) -> None:
    """Measure what arrives."""
    torch.set_num_threads(1)
    identity = identity_from_keys(load_keys(key), "parent", "bench")
    trajectory_queue, published = TrajectoryQueue(block), Published(block)
    memory = torch.zeros(PER_MESSAGE, layout.num_bytes, dtype=torch.uint8)
    buffers = {f"trajectory{number}": memory[number] for number in range(PER_MESSAGE)}
    with IOLoop() as io:
        while (task := pipe.recv()) != "end":
            way, seconds = task
            link = connect(io, "127.0.0.1", port, identity)
            link.limit(LIMIT)
            if way == "exchange":
                side = ExperienceParent(trajectory_queue, published, layout, WEIGHTS, name="bench", batch=BATCH)
                over = threading.Event()
                talk = threading.Thread(target=converse, args=(link, "bench", side, over), kwargs={"name": "bench"})
                talk.start()
                filled, deadline = flow(block).used + 2 * len(trajectory_queue), time.monotonic() + 30.0
                while flow(block).used < filled:
                    assert time.monotonic() < deadline, "nothing arrives"
                    time.sleep(0.001)  # the learner is another process, and announces nothing
                before, started = flow(block).used, time.perf_counter()
                time.sleep(seconds)  # this is what is measured
                used, passed = flow(block).used - before, time.perf_counter() - started
                over.set()
                side.close()
                talk.join()
                assert not side.refused, side.members
                pipe.send(used * layout.num_bytes / passed)
            else:
                count, started = 0, 0.0
                while (now := time.perf_counter()) < started + seconds or not started:
                    link.recv(30.0, buffers_of(buffers))
                    if not started:
                        started = time.perf_counter()
                    else:
                        count += PER_MESSAGE
                pipe.send(count * layout.num_bytes / (now - started))
                link.send(Message(Kind.STOP, "bench"))
                while link.recv(30.0, lambda header: buffers_of(buffers if header.manifest else {})(header)).arrays:
                    pass
            link.close()


def staleness(seconds: float, queue: int) -> list[str]:
    """How old what is learned from is, trajectories dropped, steps a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "marl", "train", "CartPole-v1", "--algorithm", "impala", "--workers", "2"]
        command += ["--minutes", f"{seconds / 60}", "--json", "--seed", "1", "--set", "stop.solved=false"]
        command += ["--set", f"exchange.queue={queue}", "--set", f"exchange.max_staleness={ALLOWED}"]
        command += ["--out", str(folder / "weights.pt"), "--runs", str(folder / "runs")]
        result = run_json(command, limit_s=seconds + 60)
        (path,) = folder.glob("runs/*/metrics.jsonl")
        metrics = json.loads(path.read_text().splitlines()[-1])["metrics"]
    spread = [f"{metrics[f'staleness_{name}']:.0f}" for name in ("median", "p99", "max")]
    ages = [f"{metrics['staleness']:.2f}", *spread, str(ALLOWED), f"{metrics['dropped']:.0f}"]
    return [str(queue), *ages, f"{result['steps_per_second']:,.0f}"]


if __name__ == "__main__":
    assert ROOT
    main()
