"""What the benchmarks share: running a program that prints JSON, medians, tables, facts, memory."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TRAIN = ROOT / "a3c_single_machine.py"
PARENT = ROOT / "init_parent.py"
EVALUATE = ROOT / "test_env.py"


def our_training(
    environment: str, *, seed: int, folder: Path, settings: Iterable[str] = (), local: int | None = None
) -> list[str]:
    """The command that trains ``environment`` and leaves everything it writes in ``folder``.

    Args:
        local: on so many children of this machine.
    """
    script = TRAIN if local is None else PARENT
    command = [sys.executable, str(script), environment, "--seed", str(seed), "--json"]
    command += [] if local is None else ["--local", str(local)]
    command += ["--out", str(folder / "weights.pt"), "--runs", str(folder / "runs")]
    for setting in settings:
        command += ["--set", setting]
    return command


def peer_training(
    python: Path, library: str, algorithm: str, environment: str, *, seed: int, **options: Any
) -> list[str]:
    """The command that trains ``environment`` with a peer; ``options`` are those of ``peer.py``."""
    command = [str(python), str(ROOT / "benchmarks" / f"peer_{library}.py")]
    command += ["--algorithm", algorithm, "--env", environment, "--seed", str(seed)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def run_json(command: Sequence[str], *, limit_s: float) -> dict[str, Any]:
    """Run ``command`` and return the JSON object that its output ends in.

    Added to it: ``wall_s``, its whole time, and ``busy_before``, the share of the machine that other programs
    used just before it started: above a few percent, the measurement is theirs as much as ours.

    Raises:
        SystemExit: it failed, outlived ``limit_s`` or printed no such object; the end of its errors is shown.
    """
    busy = busy_share()
    used = cpu_seconds()
    before = busy_seconds()
    started = time.time()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            cwd=ROOT,
            env=environment_of(started),
            text=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{_short(command)} did not end within {limit_s:.0f} s") from None
    if done.returncode:
        raise SystemExit(f"{_short(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    wall_s = time.time() - started
    facts = {"wall_s": wall_s, "busy_before": busy}
    if str(TRAIN) not in command:
        # Not for ours: the processor time of workers that a fork server started never reaches us.
        others = (busy_seconds() - before) - (cpu_seconds() - used)
        facts["busy_during"] = max(0.0, others / (wall_s * (os.cpu_count() or 1)))
    return {**last_object(done.stdout, _short(command)), **facts}


def disturbed(run: dict[str, Any]) -> bool:
    """Whether other programs used more than 5 % of the machine around or during a run."""
    return max(run.get("busy_before", 0.0), run.get("busy_during", 0.0)) > 0.05


def warning(num_disturbed: int) -> str:
    """A line to print under a table, empty when nothing disturbed what is in it."""
    if not num_disturbed:
        return ""
    return f"\n**{num_disturbed} measurements shared the machine with other programs: repeat before claiming.**"


def busy_share(seconds: float = 0.5) -> float:
    """The share of all cores that is in use while this process sleeps."""
    before = busy_seconds()
    time.sleep(seconds)  # whatever runs meanwhile is not ours
    return (busy_seconds() - before) / (seconds * (os.cpu_count() or 1))


def busy_seconds() -> float:
    """Processor seconds that all programs together have used since the machine started; 0 where unknown."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """Processor seconds of the programs that we started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def environment_of(started: float) -> dict[str, str]:
    """This process's environment; peers count their start-up from ``started``."""
    return {**os.environ, "MARL_BENCH_STARTED": repr(started)}


def last_object(output: str, source: str) -> dict[str, Any]:
    """The JSON object that ``output`` ends in, on one line or several."""
    lines = output.splitlines()
    for first in range(len(lines) - 1, -1, -1):
        if lines[first].startswith("{"):
            try:
                found = json.loads("\n".join(lines[first:]))
            except json.JSONDecodeError:
                continue
            if isinstance(found, dict):
                return found
    raise SystemExit(f"{source} printed no JSON object; its output ends in:\n{output[-1000:]}")


def _short(command: Sequence[str]) -> str:
    return " ".join(Path(part).name if os.sep in part else part for part in command)


def spread(values: Sequence[float], form: str = "{:.1f}") -> str:
    """Median [minimum-maximum], or the one value, or a dash for none."""
    if not values:
        return "-"
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} [{form.format(min(values))}-{form.format(max(values))}]"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; its first column is text, the others are numbers."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|--:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def machine() -> str:
    """What was measured on, in one line."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "gymnasium", "numpy"))
    return f"{cores} cores, {name}; Python {platform.python_version()}, {packages}"


def keep(name: str, record: dict[str, Any]) -> Path:
    """Write every single measurement to ``benchmarks/results``, for whoever doubts a median."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"machine": machine(), **record}, indent=1, default=str))
    return path


def family(root: int) -> dict[int, int]:
    """Every living process under ``root``, itself included, as process: parent (Linux)."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                after_name = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended while we looked
                continue
            parents[int(folder.name)] = int(after_name[1])
    found = {root: parents.get(root, 0)}
    grown = True
    while grown:
        more = {child: parent for child, parent in parents.items() if parent in found and child not in found}
        found.update(more)
        grown = bool(more)
    return found


def pss_mb(process: int) -> float | None:
    """Proportional set size: what is private and a fair share of the rest. None once the process ended."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None
