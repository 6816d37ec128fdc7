"""Does every world train? Each plays some thousand steps by `marl train`, as a user would start it.

    python benchmarks/worlds.py                       # all of them, 10,000 steps each
    python benchmarks/worlds.py mujoco minigrid --steps 2000

Says which passed, and ends with status 1 if one did not, or if its extra is not installed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import NamedTuple

from measure import table

POOL = ("--set", "environment.backend=envpool")
HOUR = 3600.0


class World(NamedTuple):
    """What one extra brings."""

    module: str  # that must be installed
    runs: tuple[tuple[str, ...], ...]  # words of `marl train` for each


WORLDS = {
    "box2d": World("Box2D", (("LunarLander-v3",), ("BipedalWalker-v3",), ("CarRacing-v3",))),
    "mujoco": World(
        "mujoco",
        (
            ("HalfCheetah-v5",),
            ("Hopper-v5",),
            ("Walker2d-v5",),
            ("Ant-v5",),
            ("Humanoid-v5",),
            ("InvertedPendulum-v5",),
        ),
    ),
    "minigrid": World("minigrid", (("MiniGrid-Empty-5x5-v0",),)),
    "atari": World("ale_py", (("ALE/Pong-v5", "--set", "replay.start=1000"),)),
    "vizdoom": World("vizdoom", (("VizdoomBasic-v1",),)),
    "retro": World("stable_retro", (("retro/Airstriker-Genesis-v0",),)),
    "sumo": World("libsumo", (("SumoCrossing-v0",),)),
    "envpool": World("envpool", (("Hopper-v5", *POOL), ("Pong-v5", *POOL))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help=f"of {', '.join(WORLDS)}; default: all")
    parser.add_argument("--steps", type=int, default=10_000, help="of each run (default 10,000)")
    options = parser.parse_args()
    if unknown := sorted({*options.worlds} - {*WORLDS}):
        parser.error(f"expected worlds of {', '.join(WORLDS)}, got {', '.join(unknown)}")

    rows, failed = [], 0
    for name in options.worlds or WORLDS:
        world = WORLDS[name]
        for words in world.runs:
            start = time.monotonic()
            passed, said = (
                trained(words, options.steps) if find_spec(world.module) else (False, f"extra {name!r} is missing")
            )
            failed += not passed
            rows.append([name, " ".join(words), f"{time.monotonic() - start:.0f}", "yes" if passed else "NO", said])
            print(f"{name}: {' '.join(words)}: {'passed' if passed else 'FAILED'}: {said}", file=sys.stderr, flush=True)
    print(table(["world", "marl train", "seconds", "passed", "said"], rows))
    sys.exit(1 if failed else 0)


def trained(words: tuple[str, ...], steps: int) -> tuple[bool, str]:
    """Whether `marl train WORDS` played the steps, and how it ended."""
    with tempfile.TemporaryDirectory(prefix="marl-world-") as folder:
        command = [sys.executable, "-m", "marl", "train", *words, "--steps", str(steps), "--json"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=HOUR)
        except subprocess.TimeoutExpired:
            return False, f"was not done within {HOUR:g} s"
    if done.returncode:
        return False, (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
    result = json.loads(done.stdout)
    said = f"{result['steps']:,} steps, {result['steps_per_second']:,.0f} steps/s, {result['episodes']:,} episodes"
    return result["steps"] >= steps, said


if __name__ == "__main__":
    main()
