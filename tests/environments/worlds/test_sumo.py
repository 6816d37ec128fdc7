"""The crossing of our own, where SUMO is installed."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libsumo")
pytest.importorskip("sumo")

from marl.environments.check import examine
from marl.environments.make import make_single
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.environments.worlds.sumo import EPISODE_STEPS, Crossing
from marl.errors import EnvironmentFault

SUMO = EnvironmentSettings("SumoCrossing-v0", per_worker=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nets are kept in this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def played(steps: int, *, each: int, cars: float = 0.15) -> tuple[float, np.ndarray]:
    """The return of a light that changes after ``each`` steps, and the last observation."""
    crossing = Crossing(cars_per_s=(cars,) * 4)
    crossing.reset(seed=3)
    answers = [crossing.step(step // each % 2) for step in range(steps)]
    crossing.close()
    return sum(answer[1] for answer in answers), answers[-1][0]


def test_cars_wait_at_a_light_that_never_changes() -> None:
    """The north and the south have green: their lanes are the first two and the third two."""
    changing, _ = played(60, each=4)
    staying, seen = played(60, each=1_000)
    assert staying < 2 * changing < 0
    standing = seen[8:16].reshape(4, 2).sum(-1)
    assert standing[[1, 3]].min() > 5 * max(standing[[0, 2]].max(), 0.05)
    assert seen[16:18].tolist() == [1.0, 0.0]


def test_no_cars_no_costs() -> None:
    total, seen = played(20, each=3, cars=0.0)
    assert total == 0.0
    assert seen[:16].tolist() == [0.0] * 16


def test_a_change_costs_three_seconds_of_yellow() -> None:
    import libsumo

    crossing = Crossing()
    crossing.reset(seed=0)
    states = []
    step = libsumo.simulationStep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            libsumo,
            "simulationStep",
            lambda: (states.append(libsumo.trafficlight.getRedYellowGreenState("A0")), step()),
        )
        crossing.step(0)
        crossing.step(1)
    crossing.close()
    assert ["y" in state for state in states] == [False] * 5 + [True] * 3 + [False] * 2
    assert states[0][0] == "G"
    assert states[-1][0] == "r"


def test_the_same_seed_is_the_same_traffic_and_the_net_is_made_once(cache: Path) -> None:
    first, second = played(40, each=4), played(40, each=4)
    assert first[0] == second[0] != 0.0
    (file,) = cache.rglob("*.net.xml")
    assert file.parent == cache / "marl"


def test_an_episode_is_cut_after_half_an_hour() -> None:
    crossing = make_single(SUMO)
    crossing.reset(seed=0)
    ends = [crossing.step(step // 4 % 2)[2:4] for step in range(EPISODE_STEPS)]
    crossing.close()
    assert ends.index((False, True)) == EPISODE_STEPS - 1


def test_each_of_a_vector_has_a_process() -> None:
    environments = make_environments(SUMO, 2)
    first = environments.reset([1, 2]).copy()
    later = [environments.step(np.array([0, 1])).observations.copy() for _ in range(10)]
    assert (first[:, :16] == 0).all()
    assert (later[-1][0] != later[-1][1]).any()
    environments.close()


def test_it_is_fit_for_training() -> None:
    assert examine(SUMO, seed=0, seconds=0.01).problems == []


@pytest.mark.parametrize("cars", [(0.1,), (0.1, 0.1, 0.1, 2.0), (-0.1, 0, 0, 0)])
def test_frequencies_that_are_none(cars: tuple[float, ...]) -> None:
    with pytest.raises(
        EnvironmentFault, match="expected cars_per_s to be 4 numbers from 0 to 1, one for each road, got"
    ):
        make_single(EnvironmentSettings("SumoCrossing-v0", kwargs={"cars_per_s": cars}))


def test_two_in_a_process_are_refused() -> None:
    one, other = Crossing(), Crossing()
    one.reset(seed=0)
    with pytest.raises(EnvironmentFault, match="one simulation in a process"):
        other.reset(seed=0)
    one.close()
    other.reset(seed=0)
    other.close()


def test_a_net_that_cannot_be_kept(cache: Path) -> None:
    (cache / "marl").write_text("no folder")
    with pytest.raises(EnvironmentFault, match=r"its net could not be made in .*marl: .*exists"):
        Crossing()
