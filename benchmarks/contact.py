"""What does a child's contact process cost: processor seconds a round, and the share of a core that it needs?

    python benchmarks/contact.py --seconds 20

Two children at the same time, one worker each on an environment that sleeps, 1 M parameters: one exchanges weights
again and again, the other never. What the first contact uses more, divided by its rounds, is what a round costs. Linux
only.
"""

import argparse
import os
import statistics
import time
from contextlib import ExitStack

from clusters import SLEEPER, WIDTHS, BenchParent, contact_processes, processor_seconds, see_sleeper
from marl.cluster.fleets.local import LocalFleet
from marl.wire.codec import CODECS
from measure import busy_share, keep, machine, table

PERIOD_S = 5.0  # the default of exchange.every


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=["float32", "int4"])
    parser.add_argument("--millions", type=float, choices=sorted(WIDTHS), default=1.0)
    parser.add_argument("--every", type=float, default=0.25, help="seconds between rounds while measuring")
    options = parser.parse_args()
    busy = busy_share()
    see_sleeper()
    rows, records = [], {}
    for codec in options.codecs:
        record = records[codec] = measure(codec, options.seconds, options.millions, options.every)
        round_s, rest = record["round_s"], record["resting_share"]
        rows.append(
            [
                codec,
                f"{record['num_weights']:,}",
                f"{record['rounds']}",
                f"{1000 * round_s:.1f}",
                f"{rest:.2%}",
                f"{rest + round_s / PERIOD_S:.2%}",
            ]
        )
    print(f"\nOne worker, a round every {options.every:g} s, {options.seconds:g} s each; {busy:.0%} busy before.")
    print(f"{machine()}\n")
    titles = ["", "weights", "rounds", "CPU ms a round", "of a core without rounds", "with one every 5 s"]
    print(table(titles, rows))
    keep("contact", {"arguments": vars(options), "codecs": records, "busy_before": busy})


def measure(codec: str, seconds: float, millions: float, every: float) -> dict[str, float]:
    """One contact with rounds and one without, over the same seconds."""
    width = WIDTHS[millions]
    settings = {
        "environment.per_worker": 1,
        "network.hidden": [width, width],
        "exchange.codec": codec,
        "stop.steps": 10**9,
    }
    with ExitStack() as stack:
        parents, contacts = [], []
        for pause in (every, 10_000.0):
            before = set(contact_processes(os.getpid()))
            children = stack.enter_context(LocalFleet(1, workers=1))
            addresses = [str(each) for each in children.start()]
            contacts += sorted(set(contact_processes(os.getpid())) - before)
            settings["exchange.every"] = f"{pause:g} seconds"
            parents.append(stack.enter_context(BenchParent(addresses, settings, children.home, environment=SLEEPER)))
        for parent in parents:
            parent.wait_for(lambda parent=parent: parent.num_training() == 1, 60.0, "the child")
        parents[0].wait_for_rounds(3, 60.0)
        for parent in parents:
            members = parent.side.members
            parent.wait_for(lambda members=members: any(each.steps for each in members.values()), 60.0, "a first step")
        version = parents[0].side.current.version
        before_s = [processor_seconds(each) for each in contacts]
        started = time.monotonic()
        time.sleep(seconds)  # this is what is measured: so long, undisturbed by us
        passed = time.monotonic() - started
        used = [processor_seconds(each) - start for each, start in zip(contacts, before_s, strict=True)]
        rounds = parents[0].side.current.version - version
        return {
            "rounds": rounds,
            "num_weights": parents[0].num_weights,
            "resting_share": used[1] / passed,
            "round_s": (used[0] - used[1]) / max(1, rounds),
            "used": statistics.fmean(used),
        }


if __name__ == "__main__":
    main()
