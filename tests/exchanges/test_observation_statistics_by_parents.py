"""Children whose statistics go one way at each exchange: liars, and honest ones that go far."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from marl.averaging.upload_limits import MOST_WEIGHT
from marl.data.normalizer import RunningStatistics, as_row, from_row, statistics_of
from marl.exchanges.child_reports import MAX_WORKERS
from marl.exchanges.observation_statistics import NEAR, Observed
from tests.exchanges.actors import OBSERVATION, Actors, Learning
from tests.exchanges.nodes import Clock
from tests.exchanges.observers import ENVIRONMENTS, SIZE, Child, Parent

ROOM = 1000  # questions that a stream of the parent has room for: more than are asked here
WORKERS = 8  # of a child: two groups of each fill an upload
COUNT = 2 * WORKERS * ENVIRONMENTS  # observations of an upload

Rows = npt.NDArray[np.float64]


class Alone:
    """Nothing around them."""

    size = 2

    def __init__(self, sample: RunningStatistics | None) -> None:
        self._observed = Observed(self.size, sample=sample)

    def take(self, child: str, rows: Rows) -> RunningStatistics:
        self._observed.add(child, torch.from_numpy(as_row(statistics_of(rows))), 1e6)
        return from_row(self._observed.statistics.numpy())


class ByExperience:
    """Beside trajectories."""

    size = OBSERVATION

    def __init__(self, sample: RunningStatistics | None) -> None:
        self._clock = Clock()
        self._learning = Learning(self._clock, children=2, normalizes=True, sample=sample)
        self._children: dict[str, Actors] = {}

    def take(self, name: str, rows: Rows) -> RunningStatistics:
        child = self._children.get(name)
        if child is None:
            child = self._children[name] = Actors(name, self._clock, rank=len(self._children), normalizes=True)
            self._learning.side.assign_rank(name, 0, MAX_WORKERS)
            self._learning.join(child)
        child.play()
        (upload,) = child.uploads()
        moments = torch.from_numpy(as_row(statistics_of(rows)))
        child.heard(self._learning.receive(upload._replace(arrays={**upload.arrays, "moments": moments})))
        while self._learning.waiting():
            self._learning.learn()
        self._learning.rest()
        child.heard(self._learning.side.late(name))
        statistics = self._learning.side.current.statistics
        assert statistics is not None
        return from_row(statistics.numpy())


class ByRequests:
    """In the requests themselves."""

    size = SIZE

    def __init__(self, sample: RunningStatistics | None) -> None:
        self._parent = Parent(normalizes=True, sample=sample, length=ROOM)
        self._children: dict[str, Child] = {}

    def take(self, name: str, rows: Rows) -> RunningStatistics:
        child = self._children.get(name)
        if child is None:
            child = self._children[name] = Child(name, workers=WORKERS)
            self._parent.join(child)
            self._ask(child, np.zeros((WORKERS * 2, ENVIRONMENTS, SIZE)), first=True)
        questions = rows.reshape(-1, ENVIRONMENTS, SIZE)
        for start in range(0, len(questions), WORKERS * 2):
            self._ask(child, questions[start : start + WORKERS * 2])
        statistics = self._parent.side.current.statistics
        assert statistics is not None
        return from_row(statistics.numpy())

    def _ask(self, child: Child, questions: Rows, first: bool = False) -> None:
        for place, observations in enumerate(questions):
            child.ask(*divmod(place, 2), 0.0, first=first, observations=observations)
        for upload in child.uploads():
            child.take(self._parent.answer(upload))


Kind = type[Alone] | type[ByExperience] | type[ByRequests]


@pytest.fixture(params=[Alone, ByExperience, ByRequests])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def sample_of(size: int) -> RunningStatistics:
    return RunningStatistics(200.0, np.zeros(size), np.full(size, 200.0))


def rows_of(kind: Kind, count: int, mean: float = 0.0, deviation: float = 1.0) -> Rows:
    return np.full((count, kind.size), mean) + deviation * np.where(np.arange(count) % 2, 1.0, -1.0)[:, np.newaxis]


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize(("mean", "deviation"), [(1e6, 1.0), (0.0, 1e6), (-1e20, 1e20), (40.0, 40.0)])
def test_a_liar_does_not_blind_the_others(kind: Kind, mean: float, deviation: float, sampled: bool) -> None:
    """One honest, one liar: what the normaliser makes of true observations stays of a usual size."""
    way = kind(sample_of(kind.size) if sampled else None)
    for _ in range(50):
        way.take("honest", rows_of(kind, COUNT))
        found = way.take("liar", rows_of(kind, COUNT, mean, deviation))
    assert found.count > 50 * COUNT  # nothing of the honest one is cut
    assert float(np.abs(found.mean / found.std()).max()) < 2
    assert found.std().max() < 2 * NEAR
    if max(abs(mean), deviation) >= 1e6:  # the farther, the less it counts
        assert found.std().max() < 1.2
        assert np.abs(found.mean).max() < 0.1


def test_a_liar_who_comes_first_is_measured_by_what_the_parent_has_seen(
    kind: Kind,
) -> None:
    way = kind(sample_of(kind.size))
    found = way.take("liar", rows_of(kind, COUNT, 1e6, 1e-9))
    assert float(np.abs(found.mean).max()) <= NEAR
    for _ in range(20):
        found = way.take("honest", rows_of(kind, COUNT))
        way.take("liar", rows_of(kind, COUNT, 1e6, 1e-9))
    assert 0.5 < found.std()[0] < 2 * NEAR


@pytest.mark.parametrize("sampled", [False, True])
def test_honest_children_are_followed_wherever_they_go(kind: Kind, sampled: bool) -> None:
    """Two that move on together, by a hundred deviations, and a number that begins to move late."""
    way, random = kind(sample_of(kind.size) if sampled else None), np.random.default_rng(0)
    for number in range(60):
        for child in "ab":
            seen = random.normal(size=(COUNT, kind.size))
            seen[:, 0] += 2.0 * number
            seen[:, 1:] *= float(number > 10)
            found = way.take(child, seen)
    steps = 2.0 * np.arange(60).repeat(2 * COUNT)[:, np.newaxis]
    exact = statistics_of(random.normal(size=steps.shape) + steps)
    assert found.count == pytest.approx(60 * 2 * COUNT, rel=0.01)  # of the first ones, some were cut
    assert found.mean[0] == pytest.approx(exact.mean[0], rel=0.05)
    assert found.std()[0] == pytest.approx(exact.std()[0], rel=0.05)
    assert found.std()[1] == pytest.approx(0.9, rel=0.1)


def test_one_childs_observations_count_no_more_than_its_weights_may(kind: Kind) -> None:
    way = kind(sample_of(kind.size))
    for _ in range(20):
        way.take("honest", rows_of(kind, 2))
        found = way.take("liar", rows_of(kind, COUNT, 4.9, 4.9))
    assert found.count <= 20 * 2 * (1 + MOST_WEIGHT)
