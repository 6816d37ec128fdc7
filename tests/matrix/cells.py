"""The axes of the matrix, which cells of it are legal, and a small set of them that has every pair of values."""

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

from marl.algorithms.algorithm_class import ALGORITHMS
from marl.exchanges.names import EXCHANGES


class Cell(NamedTuple):
    """One value of each axis."""

    network: str
    actions: str
    masked: bool
    tree: bool  # the observation is a Dict; if not, one Box, and a mask comes in ``info``
    algorithm: str
    exchange: str

    @property
    def name(self) -> str:
        """In one word."""
        mask, seen = "masked" if self.masked else "free", "dict" if self.tree else "one"
        return "-".join((self.network, self.actions, mask, seen, self.algorithm, self.exchange))


AXES: tuple[Sequence[Any], ...] = (
    ("mlp", "cnn", "recurrent"),
    ("discrete", "multi", "box"),
    (False, True),
    (False, True),
    tuple(ALGORITHMS),
    tuple(EXCHANGES),
)
ALL = [Cell(*values) for values in product(*AXES)]
SHOWS = {"mlp": "numbers", "cnn": "picture", "recurrent": "memory"}


def refusal(cell: Cell) -> str | None:
    """What the program says of an illegal cell, as an expression; None of a legal one. The first reason counts."""
    if cell.network == "recurrent" and cell.algorithm == "sac":
        return "network.core = 'gru' remembers earlier steps, and sac learns from each step alone"
    if cell.masked and cell.actions == "box":
        if cell.tree:
            return "environment.mask = 'action_mask' expects actions that have categories, such as Discrete, got"
        return "environment.mask = 'info' expects actions that are Discrete or MultiDiscrete, got Box"
    if cell.algorithm == "apex_dqn" and cell.actions != "discrete":
        return "apex_dqn needs actions that are one category, this environment has .*: try (ppo|sac)$"
    if cell.algorithm == "sac" and cell.actions != "box":
        return "sac needs continuous actions in one Box, and this environment has .*: try (ppo|apex_dqn)$"
    return None


LEGAL = [cell for cell in ALL if refusal(cell) is None]
ILLEGAL = [cell for cell in ALL if refusal(cell) is not None]


def pairs_in(cell: Cell) -> set[tuple[int, Any, int, Any]]:
    """Every two of its values, with their axes."""
    return {(one, cell[one], other, cell[other]) for one, other in combinations(range(len(cell)), 2)}


def cover(cells: Iterable[Cell]) -> list[Cell]:
    """Few of these cells, in which each pair of values is that some cell has: always the one with most pairs that are
    still missing, and of equals the first.
    """
    cells = list(cells)
    missing = set().union(*map(pairs_in, cells))
    chosen = []
    while missing:
        best = max(cells, key=lambda cell: len(pairs_in(cell) & missing))
        chosen.append(best)
        missing -= pairs_in(best)
    return chosen
