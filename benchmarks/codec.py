"""How fast and how small is each codec, on one thread, with error feedback?

    python benchmarks/codec.py --millions 16 --repeats 5

GB/s count the float32 bytes that go in or come out, so that codecs of different size compare. Best of the repeats.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from marl.wire.codec import Codec
from marl.wire.compression import CODECS, build_codec
from measure import busy_share, keep, machine, table

# Of issue and design: at most so many bytes, at least so many GB/s for encoding and decoding together.
FIGURES = {"int8": (0.27, 2.5), "int4": (0.14, 1.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, default=16.0, help="of weights")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--codecs", nargs="+", default=CODECS, choices=CODECS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    delta = torch.randn(int(options.millions * 1e6)).mul_(0.01)

    busy = busy_share()
    rows, record = [], {}
    for name in options.codecs:
        figures = record[name] = measure(build_codec(name), delta, options.repeats)
        max_bytes, min_speed = FIGURES.get(name, (None, None))
        rows.append(
            [name, f"{figures['bytes']:.4f}x", f"{figures['relative_error']:.2g}"]
            + [f"{figures[key]:.1f}" for key in ("encode", "decode", "decode_onto", "both")]
            + [f"<= {max_bytes}x, >= {min_speed} GB/s" if max_bytes else ""]
        )
    titles = [
        "codec",
        "bytes of float32",
        "error",
        "encode GB/s",
        "decode GB/s",
        "decode onto weights",
        "both",
        "to reach",
    ]
    print(f"\n{delta.numel():,} weights, one thread; {busy:.0%} of the machine was busy before.\n{machine()}\n")
    print(table(titles, rows))
    keep("codec", {"arguments": vars(options), "codecs": record, "busy_before": busy})


def measure(codec: Codec, delta: Tensor, repeats: int) -> dict[str, float]:
    """Sizes and speeds of one codec."""
    error, decoded = torch.zeros_like(delta), torch.zeros_like(delta)
    payload = torch.zeros(codec.num_bytes(delta.numel()), dtype=torch.uint8)
    encode_s = best_s(lambda: codec.encode(delta, error, payload, pending=error), repeats)
    codec.encode(delta, None, payload)  # without what earlier repeats left over, for the error of one message
    decode_s = best_s(lambda: codec.decode(payload, decoded), repeats)
    relative_error = float(torch.dist(decoded, delta) / delta.norm())
    onto_s = best_s(lambda: codec.decode(payload, decoded, base=delta), repeats)
    gigabytes = 4 * delta.numel() / 1e9
    return {
        "bytes": payload.numel() / (4 * delta.numel()),
        "relative_error": relative_error,
        "encode": gigabytes / encode_s,
        "decode": gigabytes / decode_s,
        "decode_onto": gigabytes / onto_s,
        "both": gigabytes / (encode_s + decode_s),
    }


def best_s(action: Callable[[], object], repeats: int) -> float:
    """The shortest of several runs, in seconds; the first, which touches new memory, does not count."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
