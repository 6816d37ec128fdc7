"""Deterministic runs by the real command: what they lead to, with all that depends on time or place left out."""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core._multiarray_umath import __cpu_dispatch__

from marl.training.saved.weights_file import read
from tests.commands import BARE, MARL, metrics, succeed

TIMED = ("second", "_at", "time", "worker_rates", "run")  # a clock or a folder decides these
FIRST = 50  # lines of metrics
COMMON = (
    *("--deterministic", "--seed", "3", "--steps", "20000", "--set", "stop.solved=false", "--json"),
    *("--set", "evaluation.episodes=3", "--set", "evaluation.greedy=false", "--set", "evaluation.final_episodes=10"),
)
# What the preset had when the runs were put on file.
EARLIER = {
    ("ppo", "LunarLander-v3"): (
        *("--set", "algorithm.learning_rate=1e-3", "--set", "environment.normalize_observations=false"),
    )
}
NORMALIZED = ("--set", "environment.normalize_observations=true")
CHILDREN = ("--local", "2", "--set", "exchange.every='2000 steps'")

RUNS: dict[str, tuple[str, ...]] = {
    f"{algorithm}, {environment}{', normalised' if more else ''}": (
        "train",
        environment,
        "--algorithm",
        algorithm,
        *EARLIER.get((algorithm, environment), ()),
        *more,
    )
    for algorithm in ("a3c", "ppo", "impala")
    for environment in ("CartPole-v1", "LunarLander-v3")
    for more in ((), NORMALIZED)
}
for name, words in RUNS.items():
    if words[3] == "impala":  # its own exchange is a queue, whose order depends on time
        RUNS[name] = (*words, "--exchange", "weights")
RUNS |= {
    f"a3c, CartPole-v1, two children, {codec}": (
        *("parent", "CartPole-v1", *CHILDREN, *NORMALIZED, "--set", f"exchange.codec={codec}"),
    )
    for codec in ("float32", "int8")
}


def any_processor() -> dict[str, str]:
    """Variables of the environment by which MKL, oneDNN, torch and numpy compute with what every processor of this
    family can do, in one order: else the bits of sums depend on which one it is.
    """
    return {
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
    }


def machine() -> str:
    """What the bits of floating-point sums still depend on."""
    return f"torch {torch.__version__}, numpy {np.__version__}, {platform.machine()}"


def played(name: str, folder: Path) -> dict[str, Any]:
    """What one of RUNS leads to, done in an empty folder: the weights' hash, the lines printed and recorded."""
    command, environment, *more = RUNS[name]
    out = succeed(*MARL, command, environment, *BARE, *COMMON, *more, cwd=folder)
    lines = metrics(folder)
    return {
        "weights": _digest(folder / "weights.pt"),
        "json": _untimed(json.loads(out.splitlines()[-1])),
        "metrics": sorted({tuple(line) for line in lines[:FIRST]}),
        "last": _untimed(lines[-1]),
    }


def _digest(file: Path) -> str:
    tensors = read(file).tensors
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _untimed(line: dict[str, Any]) -> dict[str, Any]:
    return {name: None if any(part in name for part in TIMED) else value for name, value in line.items()}
