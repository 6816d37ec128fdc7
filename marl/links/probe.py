"""Measures a link and the machine at its other end, before a run: a parent asks, a child answers before any Hello."""

import contextlib
import platform
import statistics
import time
import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from marl.digests import name_of
from marl.errors import LinkError, LinkTimeout, MessageRefused
from marl.wire.header import Header
from marl.wire.link import Link
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import new_buffers, no_buffers

MOST_BYTES = 1 << 18  # that one probe carries, each way
SMALL_BYTES = 1 << 14
MOST_WORKERS = 2**20  # or cores; as in a Welcome
MOST_PROBES = 64  # that a child answers in a row
TRIPS = 5  # empty probes
PATIENCE_S = 10.0  # for one answer
SLOW_S = 0.05  # of a small probe beyond an empty one: a large one would take too long
MULTICAST = 1 << 40  # in a hardware address; no network card has it
WIDTH, ROWS, TIMES, REPEATS = 64, 64, 50, 5  # of the standard work


class LinkSpeed(NamedTuple):
    """What a link can do, and how fast the other end computes."""

    round_trip: float  # seconds of a message without payload, and of its answer
    bytes_per_second: float  # of payload, one way
    work_seconds: float  # of the standard work at the other end, see ``standard_work``
    workers: int  # that would play there
    cores: int  # that they may use
    machine: str  # what tells it from others


def probe(link: Link, *, name: str, clock: Callable[[], float] = time.perf_counter) -> LinkSpeed:
    """The parent's part: measure a link that was just opened.

    Raises:
        LinkError: the link broke, or the other side does not answer.
        MessageRefused: the other side answers with something else, as one of an older version does.
    """
    link.limit(MOST_BYTES)
    first = _ask(link, name, 0, {"work": True})
    work, workers, cores, machine = (first.info.get(each) for each in ("work_seconds", "workers", "cores", "machine"))
    counts = all(isinstance(each, int) and 1 <= each <= MOST_WORKERS for each in (workers, cores))
    if not counts or not isinstance(work, float) or not 0 < work < PATIENCE_S:
        raise MessageRefused(f"expected a probe's answer with seconds, workers and cores, got {dict(first.info)!r:.90}")

    def seconds(num_bytes: int) -> float:
        began = clock()
        _ask(link, name, num_bytes)
        return clock() - began

    round_trip = statistics.median(seconds(0) for _ in range(TRIPS))
    size = SMALL_BYTES
    longer = seconds(size) - round_trip
    if longer < SLOW_S:
        size = MOST_BYTES
        longer = min(seconds(size) - round_trip for _ in range(2))
    with contextlib.suppress(LinkError):
        link.send(Message(Kind.STOP, name))  # no hello follows
    assert isinstance(workers, int)
    assert isinstance(cores, int)
    return LinkSpeed(round_trip, 2 * size / max(longer, 1e-6), work, workers, cores, str(machine))


def answer(link: Link, message: Message, *, name: str, workers: int, cores: int) -> None:
    """The child's part: send back as many bytes as came.

    Raises:
        LinkError: the link broke.
    """
    size = sum(each.nbytes for each in message.arrays.values() if isinstance(each, torch.Tensor))
    info: dict[str, float | int | str] = {}
    if message.info.get("work"):
        info = {"work_seconds": standard_work(), "workers": workers, "cores": cores, "machine": this_machine()}
    link.send(Message(Kind.PROBE, name, arrays=_payload(size), info={**info}))


def probe_buffers(header: Header) -> Mapping[str, memoryview]:
    """Memory for a probe; any other message is taken without arrays only."""
    return new_buffers(header) if header.kind is Kind.PROBE else no_buffers(header)


def this_machine() -> str:
    """The same for all processes of a machine, and nothing else is learned from it."""
    address = uuid.getnode()
    if address & MULTICAST:  # random, another one in each process: no network card has an address here
        address = 0
    return name_of(f"{platform.node()} {address}".encode())


def standard_work() -> float:
    """Seconds that this machine needs for passes through a small network: the least of a few tries."""
    weights, rows = torch.ones(WIDTH, WIDTH) / WIDTH, torch.ones(ROWS, WIDTH)
    tries = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(TIMES):
            rows = torch.tanh(rows @ weights)
        tries.append(time.perf_counter() - began)
    return min(tries)


def _ask(link: Link, name: str, num_bytes: int, info: Mapping[str, bool] | None = None) -> Message:
    link.send(Message(Kind.PROBE, name, arrays=_payload(num_bytes), info={**(info or {})}))
    try:
        came = link.recv(PATIENCE_S, probe_buffers)
    except LinkTimeout:
        raise MessageRefused(f"expected the answer of a probe within {PATIENCE_S:g} s, got nothing") from None
    if came.kind is not Kind.PROBE:
        raise MessageRefused(f"expected the answer of a probe, got a {came.kind}")
    return came


def _payload(num_bytes: int) -> dict[str, torch.Tensor]:
    return {"payload": torch.zeros(num_bytes, dtype=torch.uint8)} if num_bytes else {}
