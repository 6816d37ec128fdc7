"""How long until solved, ours against stable-baselines3, RLlib and Sample Factory, alternating, in one run.

    python benchmarks/time_to_solve.py                               # CartPole-v1, PPO and A2C, five seeds
    python benchmarks/time_to_solve.py --env LunarLander-v3 --algorithm a3c --peer-seeds 100 --max-seconds 480
    python benchmarks/time_to_solve.py --algorithm apex_dqn --peers dqn
    python benchmarks/time_to_solve.py --algorithm sac --env Pendulum-v1 --peers sac
    python benchmarks/time_to_solve.py --algorithm impala --local 2 --peers rllib:impala
    python benchmarks/time_to_solve.py --algorithm ppo --peers ppo rllib:ppo samplefactory:appo
    python benchmarks/time_to_solve.py --env Taxi-v4 --peers maskable_ppo        # with action masks; ours as it chooses

Solved: the mean return of the last 100 training episodes reaches the threshold; there the clocks stop.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from measure import EVALUATE, disturbed, keep, machine, our_training, peer_training, run_json, spread, table, warning
from peers import peers_python

SOLVED = {
    "Acrobot-v1": -100.0,
    "BipedalWalker-v3": 280.0,
    "CartPole-v1": 475.0,
    "LunarLander-v3": 200.0,
    "LunarLanderContinuous-v3": 200.0,
    "MountainCar-v0": -110.0,
    "Pendulum-v1": -200.0,
    "Taxi-v4": 7.0,
}
PEERS = (
    "ppo",
    "a2c",
    "dqn",
    "sac",
    "maskable_ppo",
    "rllib:ppo",
    "rllib:impala",
    "rllib:dqn",
    "rllib:sac",
    "samplefactory:appo",
)
NAMES = {"sb3": "stable-baselines3", "rllib": "RLlib", "samplefactory": "Sample Factory"}
KINDS = {"sb3": "", "rllib": "rllib", "samplefactory": "samplefactory"}  # of their environments
FROM_PROCESS = "seconds_from_process_start"
FROM_TRAINING = "seconds_from_training_start"
OURS = "marl"

Runs = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=sorted(SOLVED), default="CartPole-v1")
    parser.add_argument("--algorithm", help="ours; default: the preset's")
    parser.add_argument("--exchange", help="ours; default: the algorithm's own")
    parser.add_argument("--local", type=int, help="ours on so many children of this machine")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104])
    parser.add_argument("--peer-seeds", type=int, nargs="+", help="default: the same seeds")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, metavar="PEER", default=["ppo", "a2c"], help=f"of {', '.join(PEERS)}"
    )
    parser.add_argument("--max-seconds", type=float, default=120.0, help="training time after which a run is cut")
    parser.add_argument("--peer-threads", type=int, default=0, help="torch threads of a peer; 0: torch's choice")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="for ours")
    options = parser.parse_args()
    peer_seeds = options.seeds if options.peer_seeds is None else options.peer_seeds
    settings = [f"environment.solved_return={SOLVED[options.env]}"]
    settings += [f"algorithm.name={options.algorithm}"] if options.algorithm else []
    settings += [f"exchange.name={options.exchange}"] if options.exchange else []
    settings += options.settings
    pythons = {peer: peers_python(KINDS[library_of(peer)]) for peer in options.peers}

    runs: dict[str, Runs] = {OURS: [], **{name_of(peer): [] for peer in options.peers}}
    for seed in dict.fromkeys([*options.seeds, *peer_seeds]):
        if seed in options.seeds:
            runs[OURS].append(run_ours(options.env, seed, options.max_seconds, settings, options.local))
            say(OURS, seed, runs[OURS][-1])
        for peer in options.peers if seed in peer_seeds else ():
            name = name_of(peer)
            command = peer_training(
                pythons[peer],
                library_of(peer),
                peer.rpartition(":")[2],
                options.env,
                seed=seed,
                solved=SOLVED[options.env],
                max_seconds=options.max_seconds,
                threads=options.peer_threads,
            )
            runs[name].append({"seed": seed, **run_json(command, limit_s=options.max_seconds + 120)})
            say(name, seed, runs[name][-1])

    print(report(options.env, options.algorithm, runs))
    num_disturbed = sum(disturbed(run) for of in runs.values() for run in of)
    print(warning(num_disturbed))
    path = keep(
        f"time-to-solve-{options.algorithm or 'preset'}-{options.env}", {"arguments": vars(options), "runs": runs}
    )
    print(f"\nEvery run: benchmarks/results/{path.name}")


def library_of(peer: str) -> str:
    """Whose script and environment; stable-baselines3 where none is named."""
    return peer.rpartition(":")[0] or "sb3"


def name_of(peer: str) -> str:
    """As tables call it."""
    return f"{NAMES[library_of(peer)]} {peer.rpartition(':')[2].upper()}"


def run_ours(
    environment: str, seed: int, max_seconds: float, settings: Iterable[str], local: int | None
) -> dict[str, Any]:
    """Train, then evaluate the saved policy on fresh episodes, outside every clock."""
    with tempfile.TemporaryDirectory(prefix="marl-bench-") as name:
        folder = Path(name)
        limits = [f"stop.minutes={max_seconds / 60:.6f}", *settings]
        command = our_training(environment, seed=seed, folder=folder, settings=limits, local=local)
        run = run_json(command, limit_s=max_seconds + 120)
        evaluate = [sys.executable, str(EVALUATE), str(folder / "weights.pt")]
        fresh = run_json([*evaluate, "--episodes", "100", "--json", "--seed", "12345"], limit_s=600)
    # "seconds" ends with the program's work; the clock of this comparison stops when solved, if it says when.
    if "training_ended_at" in run and "training_started_at" in run:
        training_s = run["training_ended_at"] - run["training_started_at"]
    else:
        training_s = run["seconds"]
    return {"seed": seed, **run, FROM_TRAINING: training_s, "evaluation": fresh["mean"]}


def say(name: str, seed: int, run: dict[str, Any]) -> None:
    outcome = "solved" if run["solved"] else "NOT solved"
    busy = ", DISTURBED by other programs" if disturbed(run) else ""
    times = f"{run[FROM_PROCESS]:.1f} s from process start, {run[FROM_TRAINING]:.1f} s of training"
    evaluated = f", evaluates {run['evaluation']:.1f}" if "evaluation" in run else ""
    print(
        f"{name}, seed {seed}: {outcome}, {times}, {run['steps']:,} steps{evaluated}{busy}",
        file=sys.stderr,
        flush=True,
    )


def report(environment: str, algorithm: str | None, runs: dict[str, Runs]) -> str:
    """Two tables: what each did, and ours against each peer."""
    header = [
        "",
        "solved",
        "s from process start",
        "s from training start",
        "steps",
        "steps/s",
        "greedy, 100 episodes",
    ]
    rows = [
        [
            name,
            f"{sum(run['solved'] for run in of)}/{len(of)}",
            times(of, FROM_PROCESS),
            times(of, FROM_TRAINING),
            spread([run["steps"] for run in of], "{:,.0f}"),
            spread([run["steps_per_second"] for run in of], "{:,.0f}"),
            spread([run["evaluation"] for run in of if "evaluation" in run]),
        ]
        for name, of in runs.items()
        if of
    ]
    how = f"marl by {algorithm or 'its preset'}"
    text = f"\n{environment}, {how}, solved at {SOLVED[environment]:.0f}; medians [minimum-maximum].\n{machine()}\n\n"
    text += table(header, rows)
    ratios = [
        [
            f"against {name}",
            ratio(runs[OURS], of, FROM_PROCESS),
            ratio(runs[OURS], of, FROM_TRAINING),
            f"{median(runs[OURS], 'steps_per_second') / median(of, 'steps_per_second'):.2f}x",
        ]
        for name, of in runs.items()
        if of and name != OURS and runs[OURS]
    ]
    if ratios:
        text += "\n\n" + table(["ours", "time from process start", "time from training start", "steps/s"], ratios)
    return text


def times(of: Runs, key: str) -> str:
    """The spread of the times to solve, unsolved runs counting as longer than any."""
    if all(run["solved"] for run in of):
        return spread([run[key] for run in of])
    middle = solve_median(of, key)
    ran = max(run[key] for run in of if not run["solved"])
    return f"{middle:.1f} (unsolved ones ran {ran:.0f})" if math.isfinite(middle) else f"not in {ran:.0f}"


def ratio(ours: Runs, theirs: Runs, key: str) -> str:
    """Median over median; only a bound where the peer's median run did not solve it."""
    mine, other = solve_median(ours, key), solve_median(theirs, key)
    if math.isinf(mine):
        return "ours not solved"
    if math.isinf(other):
        # The shortest unsolved run is the only safe bound: a longer one may just have had a larger budget.
        return f"< {mine / min(run[key] for run in theirs if not run['solved']):.3f}x"
    return f"{mine / other:.3f}x"


def solve_median(of: Runs, key: str) -> float:
    return statistics.median([run[key] if run["solved"] else math.inf for run in of])


def median(of: Runs, key: str) -> float:
    return statistics.median([run[key] for run in of])


if __name__ == "__main__":
    main()
