"""How long is a round of four children that do no work, against Flower's gRPC and hivemind in the same run?

    python benchmarks/rounds.py --millions 1 16
    python benchmarks/rounds.py --millions .01 --children 1

Ours: four processes with marl's whole child's half and no workers, one parent, wss with mutual TLS on loopback. Flower:
server and four clients over gRPC, not encrypted, parameters as one array. hivemind: four averagers that find each other
and reduce, encrypted by libp2p. All take turns, each turn with processes of its own; medians, and only ratios count.
The peers live in .venv-peers-rounds, made on first use (a download); one that cannot be had is left out.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from idle import measure_rounds
from marl.exchanges.settings import ExchangeSettings
from marl.trust.keys import create_keys
from marl.wire.codec import CODECS
from measure import ROOT, busy_share, keep, machine, run_json, spread, table
from peers import peers_python

PEERS = ("Flower", "hivemind")
CHILDREN = 4
TO_REACH = {("Flower", 1): 0.2, ("Flower", 16): 0.2, ("hivemind", 1): 0.2, ("hivemind", 16): 0.35}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 16], help="of float32 parameters")
    parser.add_argument("--children", type=int, default=CHILDREN, help="other than 4 without peers")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=240.0, help="after which a turn is given up")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--codec", choices=CODECS, default="float32", help="of ours")
    options = parser.parse_args()
    busy = busy_share()
    python = find_peers() if options.peers and options.children == CHILDREN else None
    peers = options.peers if python else []

    seconds: dict[tuple[str, float], list[float]] = {}
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as folder:
        key = Path(folder) / "cluster.key"
        create_keys(key)
        for millions in options.millions:
            for _ in range(options.turns):
                num_rounds = 500 if millions < 1 else 40 if millions <= 4 else 12
                ours = measure_rounds(
                    key,
                    num_children=options.children,
                    num_weights=int(millions * 1_000_000),
                    rounds=num_rounds,
                    processes=options.children,
                    limit_s=options.seconds,
                    exchange=ExchangeSettings(every="0.001 seconds", codec=options.codec),
                )
                say("marl", millions, ours.seconds)
                if ours.lost:
                    raise SystemExit(f"{ours.lost} uploads were not merged: this measures nothing")
                seconds.setdefault(("marl", millions), []).append(statistics.median(ours.seconds))
                records.append({"millions": millions, "ours": ours._asdict(), "rounds": num_rounds})
                for peer in peers:
                    taken = peer_rounds(peer, python, millions, options.seconds)
                    if taken:
                        say(peer, millions, taken)
                        seconds.setdefault((peer, millions), []).append(statistics.median(taken))
                        records.append({"millions": millions, peer: taken})

    rows = []
    for millions in options.millions:
        mine = seconds["marl", millions]
        for peer in ("marl", *peers):
            theirs = seconds.get((peer, millions))
            if not theirs:
                rows.append([f"{millions:g} M", peer, "no round", "-", ""])
                continue
            ratio = statistics.median(mine) / statistics.median(theirs)
            target = TO_REACH.get((peer, millions))
            rows.append(
                [
                    f"{millions:g} M",
                    peer,
                    spread(theirs, "{:.5f}"),
                    "1" if peer == "marl" else f"{ratio:.2f}x",
                    f"<= {target}x" if target else "",
                ]
            )
    print(f"\n{options.children} children without work, {options.codec}; {busy:.0%} busy before.\n{machine()}\n")
    print(table(["parameters", "", "s a round", "marl's time against it", "to reach"], rows))
    print()
    print(table(["marl, processor seconds a round", *COSTS], costs(records)))
    keep("rounds", {"arguments": vars(options), "records": records, "busy_before": busy})


COSTS = ("parent", "of it I/O loop", "of it conversations", "all children")


def costs(records: list[dict[str, Any]]) -> list[list[str]]:
    """Where our own time goes, from the last turn of each size."""
    rows = {}
    for record in records:
        if "ours" in record:
            ours, rounds = record["ours"], record["rounds"]
            threads = ours["parent_threads"]
            # The children count their warm-up too.
            values = [
                ours["parent_cpu_s"] / rounds,
                threads["I/O loop"] / rounds,
                threads["conversations"] / rounds,
                ours["children_cpu_s"] / (rounds + 3),
            ]
            rows[record["millions"]] = [f"{record['millions']:g} M", *(f"{value:.5f}" for value in values)]
    return list(rows.values())


def find_peers() -> Path | None:
    """The Python that has the peers; None, and a line that says why, where they cannot be installed."""
    try:
        return peers_python("rounds")
    except SystemExit as error:
        print(f"the peers are left out: {error}", file=sys.stderr, flush=True)
        return None


def peer_rounds(peer: str, python: Path, millions: float, limit_s: float) -> list[float]:
    """Seconds of each round; none where the peer failed, which is told."""
    command = [str(python), str(ROOT / "benchmarks" / "peer_rounds.py"), peer.lower()]
    command += ["--parameters", str(int(millions * 1_000_000)), "--children", str(CHILDREN)]
    command += ["--rounds", "12" if millions <= 4 else "5"]
    try:
        found = run_json(command, limit_s=limit_s)
    except SystemExit as error:
        print(f"{peer}: {error}", file=sys.stderr, flush=True)
        return []
    return [float(each) for each in found["seconds"]]


def say(name: str, millions: float, seconds: list[float]) -> None:
    print(f"{name}, {millions:g} M: {spread(seconds, '{:.5f}')} s a round", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
