"""A few cells of the matrix that have every legal pair of values: each trains and its probe is solved. ``make matrix``
trains all of them. What is illegal is refused at the start with its reason.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from marl.errors import ConfigError, SpaceFault
from marl.processes.threads import one_thread
from tests.matrix.cells import ALL, AXES, ILLEGAL, LEGAL, SHOWS, Cell, cover, pairs_in, refusal
from tests.matrix.probes import Probe
from tests.matrix.solving import GOAL, train_cell


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize("cell", cover(LEGAL), ids=lambda cell: cell.name)
def test_a_legal_cell_is_solved(cell: Cell, tmp_path: Path) -> None:
    solved = train_cell(cell, tmp_path)
    assert solved.reaches(cell), solved


@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize("cell", cover(ILLEGAL), ids=lambda cell: cell.name)
def test_an_illegal_cell_is_refused_at_the_start(cell: Cell, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, SpaceFault), match=refusal(cell)) as refused:
        train_cell(cell, tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_each_reason_is_among_those_that_are_tried() -> None:
    assert {refusal(cell) for cell in cover(ILLEGAL)} == {refusal(cell) for cell in ILLEGAL}


@pytest.mark.parametrize("cells", [LEGAL, ILLEGAL, ALL])
def test_a_cover_has_every_pair(cells: list[Cell]) -> None:
    chosen = cover(cells)
    assert set().union(*map(pairs_in, chosen)) == set().union(*map(pairs_in, cells))
    assert set(chosen) <= set(cells)
    assert len(chosen) < len(cells) / 8
    assert chosen == cover(cells)
    assert max(len(each) for each in AXES) ** 2 <= len(cover(ALL)) + 5


def play(cell: Cell, *, sees: bool, remembers: bool, obeys: bool) -> float:
    """The mean return of somebody who may miss something that the probe is about."""
    environment = Probe(SHOWS[cell.network], cell.actions, cell.masked, cell.tree)
    rng, returns = np.random.default_rng(0), []
    for seed in range(300):
        observation, info = environment.reset(seed=seed)
        known = _cue(observation)
        ended = False
        while not ended:
            now = _cue(observation)
            cue = (known if remembers else now) if sees else None
            guess = bool(rng.integers(2)) if cue is None else cue
            masks = None
            if cell.masked:
                mask = observation["action_mask"] if cell.tree else info["action_mask"]
                masks = mask.reshape(-1, 4) if obeys else np.ones((len(mask) // 4, 4))
            action = _action(cell, guess, masks)
            observation, reward, ended, _, info = environment.step(action)
        returns.append(reward)
    return float(np.mean(returns))


def _cue(observation: object) -> bool | None:
    seen = observation["b"] if isinstance(observation, dict) else observation
    assert isinstance(seen, np.ndarray)
    if seen.ndim == 3:
        return bool(seen[:, -1].any())
    return None if seen[0] == 0 else bool(seen[0] > 0)


def _action(cell: Cell, cue: bool, masks: np.ndarray | None) -> object:
    if cell.actions == "box":
        return np.array([0.5 if cue else -0.5], np.float32)
    wanted = [cue ^ bool(place) for place in range(1 if cell.actions == "discrete" else 2)]
    if masks is not None:
        wanted = [2 * each + int(not mask[2 * each]) for each, mask in zip(map(int, wanted), masks, strict=True)]
    return int(wanted[0]) if cell.actions == "discrete" else np.array(wanted, int)


PROBES = sorted({cell._replace(algorithm="ppo", exchange="weights") for cell in LEGAL})


@pytest.mark.parametrize("cell", PROBES, ids=lambda cell: cell.name)
def test_a_probe_is_solved_only_by_whoever_uses_all_that_it_is_about(cell: Cell) -> None:
    assert play(cell, sees=True, remembers=True, obeys=True) == 1.0
    assert play(cell, sees=False, remembers=True, obeys=True) < GOAL[cell.actions] - 0.1
    if cell.network == "recurrent":
        assert play(cell, sees=True, remembers=False, obeys=True) < GOAL[cell.actions] - 0.1
    if cell.masked:
        with pytest.raises(ValueError, match="is forbidden by"):
            play(cell, sees=True, remembers=True, obeys=False)
