"""Bytes and words that no honest node sends, thrown at everything that reads them: python -m tests.faults.fuzz

Each must end as an accepted message or as a documented error, quickly, without memory that was not agreed on, and
without code from elsewhere: an audit hook sees every import, every pickle and every process.
"""

import argparse
import contextlib
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from marl.cluster.find_spaces import find_spaces
from marl.cluster.handshake import examine, make_hello
from marl.config.files import load_config
from marl.errors import HandshakeRefused, MessageRefused
from marl.exchanges.child_reports import read_report, report_buffers
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.weights.parent import WeightsParent
from marl.wire.header import decode_header
from marl.wire.hello import Hello, Refusal, Welcome, from_info, to_info
from marl.wire.message import Kind, Message
from marl.wire.payload import Incoming, Outgoing

SIZE = 200
FORBIDDEN = {"pickle.find_class", "exec", "compile", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
MAX_BYTES = 64 * 1024
SLOW_S = 0.1
NASTY = [0, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 1e308, float("nan"), float("inf"), "", "../../x", "\0", "os:system"]

_caught: list[str] = []
_watching = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching and (event in FORBIDDEN or (event == "import" and args[0] not in sys.modules)):
        _caught.append(f"{event} {args[:1]!r:.100}")


class Fuzzer:
    """Makes the inputs and checks what becomes of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        config = load_config("CartPole-v1", {"seed": 1})
        spaces = find_spaces(config)
        network = config.algorithm.build_network(spaces, config.network, 0)
        self._hello = make_hello(config, spaces, network, run_id="run", term=1, instance="a")
        self._parent = WeightsParent(torch.zeros(SIZE), ExchangeSettings(), name="parent", observation_size=3)
        self._parent.join("child")
        self._parent.join("other")  # never uploads: no round closes
        arrays = {"weights": torch.ones(SIZE), "moments": torch.ones(7, dtype=torch.float64)}
        self._upload = Message(Kind.UPLOAD, "child", 0, 0, 1, arrays, {"work": 10})
        report = {"steps": torch.ones(2, dtype=torch.int64), "episodes": torch.ones(3, 2, dtype=torch.float64)}
        info = {"updates": 1, "restarts": 0, "metric.entropy": 0.5}
        self._report = Message(Kind.TELEMETRY, "child", arrays=report, info=info)
        self.targets: list[Callable[[], None]] = [
            self.header, self.message, self.upload, self.report, self.words, self.words, self.configuration,
        ]  # fmt: skip

    def run(self, seconds: float) -> None:
        global _watching
        for target in 100 * self.targets:  # whatever is imported lazily is imported now
            with contextlib.suppress(MessageRefused, HandshakeRefused):
                target()
        end = time.monotonic() + seconds
        _watching = True
        while time.monotonic() < end:
            target = self.random.choice(self.targets)
            start = time.perf_counter()
            try:
                target()
                self.counts[f"{target.__name__} accepted"] += 1
            except (MessageRefused, HandshakeRefused):
                self.counts[f"{target.__name__} refused"] += 1
            if target != self.configuration:  # it builds networks, if they are small
                self.slowest = max(self.slowest, time.perf_counter() - start)
        _watching = False

    def damaged(self, data: bytes) -> bytes:
        """Some bytes flipped, cut, doubled or put elsewhere."""
        bad, chance = bytearray(data), self.random
        for _ in range(chance.randint(0, 4)):
            place = chance.randrange(max(1, len(bad)))
            match chance.randrange(5):
                case 0 if bad:
                    bad[place] ^= 1 << chance.randrange(8)
                case 1:
                    del bad[place : place + chance.randint(1, 9)]
                case 2:
                    bad[place:place] = chance.randbytes(chance.randint(1, 9))
                case 3:
                    bad[place:place] = bad[place : place + 20]
                case 4:
                    bad = bad[:place]
        return bytes(bad)

    def header(self) -> None:
        message = self.random.choice([self._upload, self._report])
        decode_header(self.damaged(Outgoing(message).header), max_bytes=MAX_BYTES)

    def message(self) -> None:
        self._carry(self._upload, lambda header: self._parent.receive_buffers("child", header))

    def upload(self) -> None:
        """A whole upload with nonsense in it, up to the mean."""
        chance = self.random
        weights = torch.full((SIZE,), float(chance.choice([0, 1, 1e10, 1e30, "nan", "inf"])))
        statistics = torch.full((7,), float(chance.choice([0, 1, -1, "nan", 1e300])), dtype=torch.float64)
        info = {"work": chance.choice([1, 0, -1, 2**62, 1.5, "many", None, True])}
        arrays = {"weights": weights, "moments": statistics}
        numbers = (chance.randrange(2), chance.randrange(2), chance.randrange(9))  # term, version, counter
        message = Message(Kind.UPLOAD, "child", *numbers, arrays, info)
        member = self._parent.members["child"]
        member.uploaded, member.last_counter = True, 0  # it need not wait for a round
        if chance.random() < 0.5:
            member.uploaded, self._parent._closed = False, True  # or the round ends at once
        try:
            self._parent.answer(
                "child", self._carry(message, lambda header: self._parent.receive_buffers("child", header))
            )
        finally:
            self._parent._closed = False
            self._parent._buffers.release("child")
        mean = self._parent._merger._mean
        if mean.total_work:
            assert bool(mean.mean(torch.empty(SIZE)).isfinite().all())

    def report(self) -> None:
        read_report(self._carry(self._report, report_buffers))

    def words(self) -> None:
        kind = self.random.choice([Hello, Welcome, Refusal])
        text = str(to_info(self._hello)["json"])
        from_info({"json": self.damaged(text.encode()).decode("utf-8", "replace")}, kind)

    def configuration(self) -> None:
        """A hello that is well formed and says something absurd."""
        words = json.loads(str(to_info(self._hello)["json"]))
        section = self.random.choice(["environment", "network", "algorithm", "optimizer", "exchange", "run_id", "seed"])
        value: Any = self.random.choice([value for value in NASTY if value == value])
        if isinstance(words[section], dict) and words[section]:
            words[section][self.random.choice(list(words[section]))] = value
        else:
            words[section] = value
        hello = from_info({"json": json.dumps(words)}, Hello)
        if section in ("network", "environment") and isinstance(value, int) and value > 1000:
            return  # it would be built: how much a run may ask for is its parent's business
        examine(hello, allow=(), workers=1)

    def _carry(self, message: Message, buffers: Callable[..., Any]) -> Message:
        """Through bytes of which some are damaged on the way."""
        out = Outgoing(message)
        whole = self.random.random() < 0.5
        incoming = Incoming(out.header if whole else self.damaged(out.header), buffers, max_bytes=MAX_BYTES)
        for chunk in out.chunks():
            incoming.put(bytes(chunk) if whole else self.damaged(bytes(chunk)))
        return incoming.finish(out.seal())


def main() -> None:
    """Fuzz for a while; exit 1 where something broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    sys.addaudithook(_hook)
    fuzzer = Fuzzer(words.seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzzer.run(words.seconds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(f"{sum(fuzzer.counts.values()):,} inputs, slowest {1000 * fuzzer.slowest:.1f} ms, {grown} MB more memory")
    for name, count in sorted(fuzzer.counts.items()):
        print(f"  {name}: {count:,}")
    if _caught:
        sys.exit("forbidden: " + "; ".join(sorted(set(_caught))[:5]))
    if grown > 64:
        sys.exit(f"expected at most 64 MB more memory, got {grown}")


if __name__ == "__main__":
    main()
