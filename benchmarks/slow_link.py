"""How much of its speed does a child lose to rounds over a slow link, back to back?

    python benchmarks/slow_link.py

One child with one worker, 1.7 M parameters, int4, in flight, 20 Mbit/s and 100 ms each way. Its workers train on when
the parent is gone, so the link is cut and mended again and again, and steps with and without rounds are of the same
processes, taken in turns. As root the child lives in a network namespace of its own behind a veth pair whose two ends
are limited by the kernel (tbf), and a proxy adds the delay; otherwise, and with --no-namespace, the proxy limits the
rate too. Both ways the parent runs on this machine, which a real child would have for itself.
"""

import argparse
import asyncio
import itertools
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from clusters import (
    SLEEPER,
    WIDTHS,
    BenchParent,
    child_process,
    contact_processes,
    processor_seconds,
    see_sleeper,
    worker_processes,
)
from marl.trust.keys import create_keys, key_path
from measure import busy_share, keep, machine, spread, table
from sleeper import steps_in

MAX_LOSS, MAX_ROUND_S = 0.05, 3.0
BUFFER_S = 0.5  # of data in the proxy beyond what the delay holds: the buffer of a slow router


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbit", type=float, default=20.0, help="a second, each way")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds, each way")
    parser.add_argument("--turns", type=int, default=5, help="with rounds and without, each")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each turn")
    parser.add_argument("--codec", default="int4")
    parser.add_argument("--millions", type=float, choices=sorted(WIDTHS), default=1.7, help="of parameters")
    parser.add_argument("--no-namespace", action="store_true", help="limit the rate in the proxy, on loopback")
    options = parser.parse_args()
    busy = busy_share()
    see_sleeper()
    found = measure(options)
    losses = [1 - rounds / alone for rounds, alone in zip(found["with"], found["alone"], strict=True)]
    by_processor = [
        1 - rounds / alone for rounds, alone in zip(found["with_per_cpu"], found["alone_per_cpu"], strict=True)
    ]
    rounds_s = found["round_s"]
    rows = [
        ["steps/s with rounds", spread(found["with"], "{:,.0f}"), ""],
        ["steps/s without a parent", spread(found["alone"], "{:,.0f}"), ""],
        ["share lost to rounds", spread(losses, "{:.1%}"), f"<= {MAX_LOSS:.0%}"],
        ["share lost, by the worker's processor time", spread(by_processor, "{:.1%}"), ""],
        ["s from round to round", spread(rounds_s, "{:.2f}"), f"<= {MAX_ROUND_S:g}"],
        ["longest", f"{max(rounds_s):.2f}", ""],
        ["contact's share of a core, with rounds", spread(found["contact"], "{:.1%}"), ""],
    ]
    print(f"\n{found['num_weights']:,} parameters, {options.codec}; {found['how']}; {busy:.0%} busy before.")
    print(f"{machine()}\n")
    print(table(["", "measured", "to reach"], rows))
    keep("slow-link", {"arguments": vars(options), **found, "losses": losses, "busy_before": busy})


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Steps a second with rounds and without, in turns."""
    width = WIDTHS[options.millions]
    with ExitStack() as stack:
        counts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marl-bench-")))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marl-bench-")))
        create_keys(key_path(home))
        namespace = None if options.no_namespace else stack.enter_context(slow_namespace(options.mbit))
        words, before = ["-p", "0", "--workers", "1"], []
        if namespace:
            words, before = ["-ip", namespace.address, *words], ["ip", "netns", "exec", namespace.name]
        _, address, said = stack.enter_context(child_process(home, *words, before=before))
        rate = None if namespace else options.mbit * 1e6 / 8
        proxy = stack.enter_context(Proxy(address, options.delay, rate))
        settings = {
            "environment.per_worker": 16,
            "environment.kwargs": {"sleep_s": 0.0, "counts": str(counts)},
            "network.hidden": [width, width],
            "exchange.codec": options.codec,
            "exchange.every": "0.1 seconds",
            "stop.steps": 10**9,
        }
        parent = stack.enter_context(BenchParent([proxy.address], settings, home, environment=SLEEPER))
        parent.wait_for(lambda: parent.num_training() == 1, 90.0, "the child")
        parent.wait_for_rounds(2, 90.0)
        contact = contact_processes(os.getpid())[0]
        worker = worker_processes(os.getpid())[0]
        names = ("with", "alone", "with_per_cpu", "alone_per_cpu", "round_s", "contact")
        found: dict[str, Any] = {name: [] for name in names}
        for _ in range(options.turns):
            marks, used = [time.perf_counter()], processor_seconds(contact)
            rate, per_cpu = speed(counts, options.seconds, worker, parent, marks)
            found["with"].append(rate)
            found["with_per_cpu"].append(per_cpu)
            found["contact"].append((processor_seconds(contact) - used) / options.seconds)
            found["round_s"] += [after - before for before, after in itertools.pairwise(marks[1:])]
            said.forget()
            proxy.cut()
            parent.wait_for(lambda: parent.num_training() == 0, 30.0, "the end of the link")
            said.wait("the parent is gone")
            rate, per_cpu = speed(counts, options.seconds, worker)
            found["alone"].append(rate)
            found["alone_per_cpu"].append(per_cpu)
            proxy.mend()
            parent.wait_for(lambda: parent.num_training() == 1, 30.0, "the child")
            parent.wait_for_rounds(2, 60.0)
        how = f"{options.mbit:g} Mbit/s, {1000 * options.delay:g} ms each way, "
        how += "a namespace limited by tbf" if namespace else "limited by a proxy on loopback"
        return {**found, "how": how, "num_weights": parent.num_weights}


def speed(
    counts: Path, seconds: float, worker: int, parent: BenchParent | None = None, marks: list[float] | None = None
) -> tuple[float, float]:
    """Steps a second, of the clock and of the worker's processor; ``marks`` get the times at which rounds end."""
    before, started, used = steps_in(counts), time.perf_counter(), processor_seconds(worker)
    version = parent.side.current.version if parent else 0
    while time.perf_counter() - started < seconds:
        time.sleep(0.01 if parent else 0.1)  # between two readings of the counters
        if parent and marks is not None and parent.side.current.version != version:
            version = parent.side.current.version
            marks.append(time.perf_counter())
    steps = steps_in(counts) - before
    return steps / (time.perf_counter() - started), steps / max(0.01, processor_seconds(worker) - used)


class Namespace:
    """What the child's side of the slow link is called."""

    def __init__(self) -> None:
        self.name = f"marl-{secrets.token_hex(3)}"
        # From the range that RFC 2544 sets aside for benchmarks; another network's number would hide that network.
        network = f"198.18.{secrets.randbelow(256)}"
        self.address, self.ours = f"{network}.2", f"{network}.1"


@contextmanager
def slow_namespace(mbit: float) -> Iterator[Namespace | None]:
    """A network namespace behind a link of so many megabits a second; None, and a line why, where there can be none."""
    space = Namespace()
    here, there = f"{space.name}-a", f"{space.name}-b"
    inside = f"ip netns exec {space.name}"
    limit = f"root tbf rate {mbit:g}mbit burst 32kb latency 400ms"
    commands = [
        f"ip netns add {space.name}",
        f"ip link add {here} type veth peer name {there} netns {space.name}",
        f"ip addr add {space.ours}/30 dev {here}",
        f"ip link set {here} up",
        f"{inside} ip addr add {space.address}/30 dev {there}",
        f"{inside} ip link set {there} up",
        f"{inside} ip link set lo up",
        f"tc qdisc add dev {here} {limit}",
        f"{inside} tc qdisc add dev {there} {limit}",
    ]
    made = False
    try:
        if "198.18." in subprocess.run(["ip", "route"], capture_output=True, text=True, check=False).stdout:
            print("no namespace (198.18.0.0/16 is in use here): the proxy limits the rate", file=sys.stderr, flush=True)
            yield None
            return
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"no namespace ({done.stderr.strip()}): the proxy limits the rate", file=sys.stderr, flush=True)
                yield None
                return
            made = True
        yield space
    except FileNotFoundError as error:
        print(f"no namespace ({error}): the proxy limits the rate", file=sys.stderr, flush=True)
        yield None
    finally:
        if made:
            for command in (f"ip link del {here}", f"ip netns del {space.name}"):
                subprocess.run(command.split(), capture_output=True, check=False)


class Proxy:
    """Passes bytes on after a delay, perhaps only so many a second, and can be cut."""

    def __init__(self, target: str, delay_s: float, rate: float | None) -> None:
        """``rate``: bytes a second, each way; None: as fast as they come."""
        self._host, _, port = target.rpartition(":")
        self._port, self._rate = int(port), rate
        self.delay_s = delay_s  # may change while bytes pass
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.address = ""

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=64 * 1024))
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *unused: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._server.close)
        self._call(asyncio.sleep(0.1))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)

    def cut(self) -> None:
        """Break what is open, and let nobody through."""
        self._call(self._cut())

    def mend(self) -> None:
        """Let parents through again."""
        self._open = True

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10.0)

    async def _cut(self) -> None:
        self._open = False
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port, limit=64 * 1024)
            pair = {writer, far_writer}
            self._writers |= pair
            ways = [self._pass_on(reader, far_writer), self._pass_on(far_reader, writer)]
            await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
            for each in pair:
                each.transport.abort()
            self._writers -= pair

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way, until it ends."""
        held: deque[tuple[float, bytes]] = deque()  # when it may leave, and what
        changed = asyncio.Event()
        num_held = 0
        limit = int((self.delay_s + BUFFER_S) * (self._rate or 20e6 / 8))

        async def take() -> None:
            nonlocal num_held
            while data := await reader.read(16 * 1024):
                held.append((self._loop.time() + self.delay_s, data))
                num_held += len(data)
                changed.set()
                while num_held > limit:
                    await asyncio.sleep(0.002)
            held.append((0.0, b""))
            changed.set()

        taking = asyncio.ensure_future(take())
        free_at = 0.0
        try:
            while True:
                while not held:
                    changed.clear()
                    await changed.wait()
                leaves_at, data = held.popleft()
                if not data:
                    return
                if self._rate:
                    free_at = max(free_at, leaves_at) + len(data) / self._rate
                    leaves_at = free_at
                await asyncio.sleep(max(0.0, leaves_at - self._loop.time()))
                num_held -= len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            taking.cancel()


if __name__ == "__main__":
    main()
