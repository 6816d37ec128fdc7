"""What a run was made with and on: versions, hardware and the code's own state."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

GIT_TIMEOUT_S = 5.0
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
    Files that git does not track are named among the changes but are not in the patch.
    """
    status = _git(folder, "status", "--porcelain")
    if status is None:
        return {"commit": None, "dirty": None, "changes": None}, b""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = status.decode(errors="replace").splitlines()
    facts = {
        "commit": commit.decode().strip() if commit else None,
        "dirty": bool(changes),
        "changes": changes,
    }
    return facts, _git(folder, "diff", "--no-ext-diff", "--no-color", "HEAD") or b""


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        answer = subprocess.run(
            ["git", *words],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # only looks: must not disturb a person's git
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout


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
