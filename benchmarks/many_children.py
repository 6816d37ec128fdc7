"""Do hundreds of children on one parent finish every round, how fast, and in how much of the parent's memory?

    python benchmarks/many_children.py --children 256

The children are light: threads that speak the protocol over real encrypted links, each a server with a port of its own,
but without weights of their own (see idle.py). They share this machine with the parent, which on real machines has a
core more for itself. A round is lost when an upload of it was not merged.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from idle import measure_rounds
from marl.trust.keys import create_keys
from measure import busy_share, keep, machine, spread, table

TO_REACH_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--millions", type=float, default=1.0, help="of float32 parameters")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2, help="that the children live in")
    parser.add_argument("--seconds", type=float, default=300.0, help="after which a measurement is given up")
    options = parser.parse_args()
    busy = busy_share()
    rows, records = [], {}
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as folder:
        key = Path(folder) / "cluster.key"
        create_keys(key)
        for count in sorted(options.children):  # the largest last: its peak is the parent's
            rounds = measure_rounds(
                key,
                num_children=count,
                num_weights=int(options.millions * 1e6),
                rounds=options.rounds,
                processes=min(count, options.processes),
                kind="light",
                warm_up=1,
                limit_s=options.seconds,
            )
            records[count] = rounds._asdict()
            bare_s = statistics.median(rounds.seconds)
            rows.append(
                [
                    f"{count} children",
                    f"{len(rounds.seconds)} rounds, {rounds.lost} uploads lost",
                    spread(rounds.seconds, "{:.2f}"),
                    f"<= {TO_REACH_S:g}" if count == 256 else "",
                    f"{1000 * bare_s / count:.1f}",
                    f"{1000 * rounds.parent_cpu_s / len(rounds.seconds) / count:.1f}",
                    f"{1000 * rounds.parent_threads['I/O loop'] / len(rounds.seconds) / count:.1f}",
                    f"{rounds.peak_mib:.0f}",
                ]
            )
    print(f"\n{options.millions:g} M parameters, children in {options.processes} processes; {busy:.0%} busy before.")
    print(f"{machine()}\n")
    titles = [
        "",
        "",
        "s a round",
        "to reach",
        "ms a child",
        "parent's CPU ms a child",
        "of it I/O loop",
        "parent's peak MiB",
    ]
    print(table(titles, rows))
    keep("many-children", {"arguments": vars(options), "children": records, "busy_before": busy})


if __name__ == "__main__":
    main()
