"""``make matrix``: trains every legal cell, tries every illegal one, and prints a table; ``--part 1/4`` does a quarter.

Ends with code 1 if a cell is not solved, or is not refused as it should be.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import torch

from marl.errors import MarlError
from tests.matrix.cells import ALL, Cell, refusal
from tests.matrix.solving import train_cell


def outcome(cell: Cell) -> tuple[bool, str]:
    """Whether a cell does as it should, and what came of it."""
    expected = refusal(cell)
    with tempfile.TemporaryDirectory() as folder:
        try:
            solved = train_cell(cell, Path(folder))
        except MarlError as error:
            right = expected is not None and re.search(expected, str(error)) is not None
            return right, f"refused: {error}"
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"
    return expected is None and solved.reaches(cell), f"{solved.mean:.2f} after {solved.steps:,} steps"


def main() -> int:
    """Print a line for each cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", default="1/1", help="which of how many parts")
    parser.add_argument("--only", default="", help="cells whose name matches this expression")
    words = parser.parse_args()
    number, parts = map(int, words.part.split("/"))
    torch.set_num_threads(1)
    cells = [cell for cell in ALL[number - 1 :: parts] if re.search(words.only, cell.name)]
    wrong, begun = [], time.monotonic()
    for cell in cells:
        start = time.process_time()
        right, what = outcome(cell)
        seconds = time.process_time() - start
        print(f"{'ok' if right else 'NOT':3}  {cell.name:52}  {seconds:5.1f} s  {what:.90}", flush=True)
        if not right:
            wrong.append(cell.name)
    trained, took = sum(refusal(cell) is None for cell in cells), time.monotonic() - begun
    print(f"\n{trained} cells trained, {len(cells) - trained} refused, {took:.0f} s, {len(wrong)} wrong")
    for name in wrong:
        print(f"  {name}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
