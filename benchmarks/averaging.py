"""What does the mean of a round cost, against a bare running sum of the same uploads?

    python benchmarks/averaging.py --children 8 --millions 16 --repeats 5

Ours and the bare sum take turns; only their ratio is a claim. Best of the repeats.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from marl.averaging.mean import RunningMean
from marl.averaging.robust import RULES, RobustMean
from measure import busy_share, keep, machine, table

TO_REACH = {"running sum": ">= 0.8x", "running sum, all checks": ">= 0.4x"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, default=8)
    parser.add_argument("--millions", type=float, default=16.0, help="of weights")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--rules", nargs="*", default=[], choices=RULES, help="robust rules to measure too (slow)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    size = int(options.millions * 1e6)
    base, out = torch.randn(size), torch.zeros(size)
    uploads = [base + 0.01 * torch.randn(size) for _ in range(options.children)]

    ours = RunningMean(size)
    contenders: dict[str, Callable[[], object]] = {
        "bare torch running sum": lambda: bare(uploads, out),
        "running sum": lambda: unchecked(ours, base, uploads, out),
        "running sum, all checks": lambda: checked(ours, base, uploads, out),
        "torch.stack and mean": lambda: torch.stack(uploads).mean(0),
    }
    for rule in options.rules:
        robust = RobustMean(size, rule)
        contenders[f"robust: {rule}"] = lambda robust=robust: checked(robust, base, uploads, out)

    busy = busy_share()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(options.repeats + 1):
        for name, action in contenders.items():
            started = time.perf_counter()
            action()
            if turn:  # the first touches new memory
                seconds[name].append(time.perf_counter() - started)

    best = {name: min(times) for name, times in seconds.items()}
    gigabytes = 4 * size * len(uploads) / 1e9
    rows = []
    for name, time_s in best.items():
        ratio = best["bare torch running sum"] / time_s
        rows.append(
            [name, f"{1000 * time_s:.0f}", f"{gigabytes / time_s:.1f}", f"{ratio:.2f}x", TO_REACH.get(name, "")]
        )
    print(f"\n{options.children} children, {size:,} weights, {options.threads} threads; {busy:.0%} busy before.")
    print(f"{machine()}\n")
    print(table(["", "ms a round", "GB/s of uploads", "against the bare sum", "to reach"], rows))
    keep("averaging", {"arguments": vars(options), "seconds": seconds, "busy_before": busy})


def bare(uploads: list[Tensor], out: Tensor) -> Tensor:
    """What nobody can do with less: weighted, for ours is too."""
    out.zero_()
    for upload in uploads:
        out.add_(upload, alpha=1000.0)
    return out.div_(1000.0 * len(uploads))


def unchecked(merge: RunningMean, base: Tensor, uploads: list[Tensor], out: Tensor) -> Tensor:
    """Our sum alone."""
    merge.begin(base)
    for upload in uploads:
        merge.accumulate(upload, 1000.0)
        merge.total_work += 1000.0
    return merge.mean(out)


def checked(merge: RunningMean | RobustMean, base: Tensor, uploads: list[Tensor], out: Tensor) -> Tensor:
    """A whole round: finite, norm, clipping, sum, mean."""
    merge.begin(base)
    for upload in uploads:
        merge.add(upload, 1000.0)
    return merge.mean(out)


if __name__ == "__main__":
    main()
