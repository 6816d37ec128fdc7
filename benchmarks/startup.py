"""From the start of the process to a worker's first update, and the memory of each process of a short run.

    python benchmarks/startup.py --runs 5

Time and memory come from different runs: reading a process's memory map slows it down. Linux only.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import (
    ROOT,
    disturbed,
    environment_of,
    family,
    keep,
    machine,
    our_training,
    pss_mb,
    run_json,
    spread,
    table,
    warning,
)

SAMPLE_EVERY_S = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20_000, help="of a timed run")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a run whose memory is read")
    options = parser.parse_args()

    first_updates: list[float] = []
    num_disturbed = 0
    memories: list[dict[str, list[float]]] = []
    for run in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="marl-bench-") as name:
            limits = [f"stop.steps={options.steps}", "stop.solved=false"]
            command = our_training(options.env, seed=options.seed + run, folder=Path(name), settings=limits)
            timed = run_json(command, limit_s=120)
            first_updates.append(timed["first_update_seconds"])
            num_disturbed += disturbed(timed)
        with tempfile.TemporaryDirectory(prefix="marl-bench-") as name:
            limits = [f"stop.minutes={options.seconds / 60:.6f}", "stop.solved=false"]
            command = our_training(options.env, seed=options.seed + run, folder=Path(name), settings=limits)
            memories.append(memory_of(command))

    rows = [["first update, s from process start", spread(first_updates, "{:.2f}")]]
    for role in ("main", "helper", "worker"):
        largest = [max(memory[role]) for memory in memories if memory[role]]
        rows.append([f"largest PSS of a {role} process, MB", spread(largest, "{:.0f}")])
    totals = [sum(sum(values) for values in memory.values()) for memory in memories]
    rows.append(["PSS of all processes, MB", spread(totals, "{:.0f}")])
    num_workers = statistics.median_high([len(memory["worker"]) for memory in memories])
    print(f"\n{options.env}, {num_workers} workers; medians [minimum-maximum] of {options.runs} runs.")
    print(f"{machine()}\n")
    print(table(["", "measured"], rows))
    print(warning(num_disturbed))
    keep("startup", {"arguments": vars(options), "first_updates": first_updates, "memories": memories})


def memory_of(command: list[str]) -> dict[str, list[float]]:
    """The largest PSS of each process that ``command`` starts, in MB, by role.

    A helper is a child of the main process that has children or never trains (fork server, resource tracker);
    a worker is a child of the fork server, or of the main process where there is none.
    """
    with subprocess.Popen(
        command, cwd=ROOT, env=environment_of(time.time()), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        largest: dict[int, float] = {}
        roles: dict[int, str] = {}
        try:
            while process.poll() is None:
                for member, parent in family(process.pid).items():
                    roles[member] = role_of(member, parent, process.pid)
                    size = pss_mb(member)
                    if size is not None:
                        largest[member] = max(size, largest.get(member, 0.0))
                time.sleep(SAMPLE_EVERY_S)  # between two readings of memory
        finally:
            process.kill()  # nothing when it has ended
        errors = process.stderr.read() if process.stderr else b""
    if process.returncode:
        raise SystemExit(f"training ended with {process.returncode}:\n{errors.decode()[-2000:]}")
    return {
        role: [size for member, size in largest.items() if roles[member] == role]
        for role in ("main", "helper", "worker")
    }


def role_of(process: int, parent: int, main_process: int) -> str:
    if process == main_process:
        return "main"
    if parent != main_process:
        return "worker"
    try:
        line = Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return "helper"
    return "worker" if "spawn_main" in line else "helper"


if __name__ == "__main__":
    main()
