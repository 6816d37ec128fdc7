"""What a run was made with and on: versions, hardware and the code's own state."""

import os
import platform
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

GIT_TIMEOUT_S = 5.0  # for all questions together: the run is not watched meanwhile
MOST_BYTES = 2**20  # of an answer
MOST_FILE = 2**20  # bytes of a file whose changes are told line by line
MOST_CHANGES = 200  # files that are named
# Settings of a repository by which looking at files runs programs, and nothing on the command line turns them off.
_RUNS = r"^(filter\..*|extensions\.partialclone|remote\..*\.(promisor|partialclonefilter))$"
_TRUSTED = (b"system\t", b"global\t", b"command\t")  # settings of the user's own, which git's answer begins with
_PACKAGES = ("marl", "torch", "numpy", "gymnasium")


def versions() -> dict[str, str | None]:
    """Python's version and those of the packages that decide results; None where not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)  # reads files: torch need not be imported
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def hardware() -> dict[str, Any]:
    """The machine as far as speed depends on it; None for what cannot be found out."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "memory_bytes": _memory_bytes(),
    }


def git_facts(folder: Path) -> tuple[dict[str, Any], bytes]:
    """The commit checked out in ``folder``, what differs from it, and the difference as a patch.

    Everything is None, and the patch empty, where git is missing, slow, or ``folder`` is no repository.
    Files that git does not track are named among the changes but are not in the patch, and of files of more than
    ``MOST_FILE`` bytes it says only that they differ. What is cut says so. ``folder`` may come from anyone: no program
    is run that its repository's settings name, and nothing is said of differences where git would run one.
    """
    deadline = time.monotonic() + GIT_TIMEOUT_S
    facts: dict[str, Any] = {"commit": None, "dirty": None, "changes": None}
    commit = _git(folder, deadline, "rev-parse", "--verify", "HEAD")
    if commit.whole:
        facts["commit"] = commit.out.decode().strip()
    if trouble := _unsafe(folder, deadline):
        facts["trouble"] = trouble
        return facts, b""
    # Within a submodule git runs another git, by that one's settings.
    status = _git(folder, deadline, "status", "--porcelain", "--ignore-submodules=dirty")
    if not status.whole and not status.out:
        if status.trouble and "not a git repository" not in status.trouble:
            facts["trouble"] = status.trouble  # such as a repository of another user's
        return facts, b""
    changes = status.out.decode(errors="replace").splitlines()
    facts |= {"dirty": bool(changes), "changes": changes[:MOST_CHANGES]}
    if len(changes) > MOST_CHANGES or not status.whole:
        facts["changes"].append("... and more")
    if not commit.whole:
        return facts, b""
    plain = ("--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty", "--submodule=short")
    diff = _git(folder, deadline, "diff", *plain, "HEAD")
    if diff.whole:
        return facts, diff.out
    facts["diff"] = f"cut after {len(diff.out):,} bytes"
    return facts, diff.out + f"\n# {facts['diff']}: there is more than marl keeps\n".encode()


class _Answer(NamedTuple):
    """What git said."""

    out: bytes  # at most MOST_BYTES
    whole: bool  # and ended well
    trouble: str = ""


def _unsafe(folder: Path, deadline: float) -> str:
    """Why nothing may be asked about the files in ``folder``; empty if it may."""
    found = _git(folder, deadline, "config", "--includes", "--show-scope", "--name-only", "--get-regexp", _RUNS)
    named = [line for line in found.out.splitlines() if not line.startswith(_TRUSTED)]
    if named:
        name = named[0].decode(errors="replace").partition("\t")[2]
        return f"the repository's own {name:.80} makes git run programs: what differs from the commit is not looked for"
    return "" if found.whole or "not a git repository" in found.trouble else found.trouble  # no match is no trouble


def _git(folder: Path, deadline: float, *words: str) -> _Answer:
    ended = f"git {words[0]} was ended: it took longer than {GIT_TIMEOUT_S:g} s or said too much"
    if time.monotonic() >= deadline:  # a git that is started all the same may be faster than the end
        return _Answer(b"", False, ended)
    settings = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", f"core.bigFileThreshold={MOST_FILE}")
    try:
        process = subprocess.Popen(
            ["git", *(word for setting in settings for word in ("-c", setting)), *words],
            cwd=folder,
            # It only looks: it must not disturb a person's git.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return _Answer(b"", False, f"git: {error.strerror}" if not isinstance(error, FileNotFoundError) else "")
    timer = threading.Timer(deadline - time.monotonic(), process.kill)
    timer.start()
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        out = process.stdout.read(MOST_BYTES + 1)
        if len(out) > MOST_BYTES:
            process.kill()
        trouble = process.stderr.read(MOST_BYTES).decode(errors="replace").strip().partition("\n")[0]
    timer.cancel()
    if process.returncode < 0:
        trouble = ended
    return _Answer(out[:MOST_BYTES], process.returncode == 0, trouble)


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    if sys.platform == "darwin":
        try:
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            answer = subprocess.run(command, capture_output=True, timeout=GIT_TIMEOUT_S, check=True)
            return answer.stdout.decode(errors="replace").strip()
        except (OSError, subprocess.SubprocessError):
            return None
    return platform.processor() or None


def _usable_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None  # Windows
