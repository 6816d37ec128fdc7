"""What a merger remembers of uploads: of refused ones nothing."""

import math
from typing import Any

import pytest
import torch

from marl.averaging.directions import AFTER
from marl.averaging.reach import Reach
from marl.averaging.upload_limits import MOST_WEIGHT
from marl.averaging.vetting import Sent
from marl.data.normalizer import RunningStatistics, as_row
from marl.errors import WeightsRefused
from marl.exchanges.merging.merger import Merger
from marl.exchanges.observation_statistics import Observed
from marl.exchanges.pairwise.merger import MixingMerger
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Global
from marl.wire.message import Kind, Message

SIZE, WORK = 50, 100


def upload(child: str, numbers: torch.Tensor, work: int = WORK, seen: torch.Tensor | None = None) -> Message:
    arrays: dict[str, Any] = {"weights": numbers} | ({} if seen is None else {"moments": seen})
    return Message(Kind.UPLOAD, child, 1, 0, 1, arrays, {"work": work})


def made(kind: type[Merger], observed: Observed | None = None, reach: Reach | None = None, **settings: Any) -> Merger:
    row = None if observed is None else observed.statistics
    current, exchange = Global(0, torch.zeros(SIZE), row, 0), ExchangeSettings(**settings)
    mixing: dict[str, Any] = {"step_size": lambda upload: exchange.alpha} if kind is MixingMerger else {}
    return kind(current, exchange, lambda text: None, observed=observed, reach=reach, seen_beside=2.0, **mixing)


@pytest.mark.parametrize("kind", [Merger, MixingMerger])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_a_refused_upload_leaves_no_trace(kind: type[Merger], bad: float) -> None:
    seen = torch.from_numpy(as_row(RunningStatistics(10.0, torch.zeros(2).numpy(), torch.ones(2).numpy())))
    observed = Observed(2)
    merger = made(kind, observed)
    if isinstance(merger, MixingMerger):
        merger.joined("a", anew=True)
        merger.joined("b", anew=True)
    for child in "ab":
        merger.add(upload(child, torch.ones(SIZE), seen=seen), Sent(child, 1.0))
    poisoned = torch.ones(SIZE)
    poisoned[3] = bad

    def known() -> str:
        children = {name: row.tolist() for name, row in observed._children.items()}
        usual = merger.vetting._work._usual._own, merger.vetting._weights._usual._own, merger.vetting.saved()
        directions = merger.directions
        cosines = {name: delta.tolist() for name, delta in directions._deltas.items()}, directions._agreement
        stood = {name: at.tolist() for name, at in getattr(merger, "_stood", {}).items()}
        return str((children, usual, cosines, directions._seen, stood, merger._statistics, merger.num_uploads))

    before = known()
    with pytest.raises(WeightsRefused):
        merger.add(upload("a", poisoned, seen=seen), Sent("a", 1.0))
    with pytest.raises(WeightsRefused):
        merger.add(upload("a", poisoned, work=0, seen=seen), Sent("a", 1.0))
    assert known() == before


def test_statistics_of_many_uploads_of_no_work_are_kept_as_one() -> None:
    merger = made(MixingMerger, Observed(2))
    seen = torch.from_numpy(as_row(RunningStatistics(2.0, torch.ones(2).numpy(), torch.zeros(2).numpy())))
    for _ in range(20):
        merger.add(upload("a", torch.zeros(SIZE), work=0, seen=seen), Sent("a", 1.0))
    assert {child: (row.dim(), float(row[0])) for child, row in merger._statistics.items()} == {"a": (1, 40.0)}


def test_a_long_path_that_leads_nowhere_excuses_no_long_upload() -> None:
    """Pairwise: the others have gone to and fro for long; one that was silent meanwhile is where it was."""
    reach = Reach(usual=0.1, most=0.7, warm_up=0.0, per_step=1 / WORK, per_trajectory=0.0, lag=0.0)
    merger = made(MixingMerger, reach=reach, alpha=1.0)
    assert isinstance(merger, MixingMerger)
    for child in ("honest", "liar"):
        merger.joined(child, anew=True)
    for number in range(200):
        step = torch.full((SIZE,), 0.01 * (-1) ** number)
        merger.add(upload("honest", merger.current.weights + step), Sent("honest", 1.0))
    assert merger._path > 5
    before = merger.current.weights
    with pytest.raises(WeightsRefused, match="that its work allows"):
        merger.add(upload("liar", before + 10.0 / math.sqrt(SIZE)), Sent("liar", 1.0))
    merger.add(upload("honest", before + 0.01), Sent("honest", 1.0))


def test_claimed_work_makes_no_room_for_a_long_delta() -> None:
    """What counts no more in the mean does not count for the length, either."""
    reach = Reach(usual=0.1, most=0.7, warm_up=0.0, per_step=1 / WORK, per_trajectory=0.0, lag=0.0)
    moved = []
    for claimed in (8, 800):
        merger = made(Merger, reach=reach)
        for _ in range(10):
            merger.add(upload("honest", merger.current.weights + 1e-4), Sent("honest", None))
            merger.close({})
        factor = merger.add(
            upload("liar", merger.current.weights + 1.0, work=claimed * WORK), Sent("liar", None)
        ).factor
        moved.append(factor * math.sqrt(SIZE))
    assert moved[1] <= moved[0] * 1.01


@pytest.mark.parametrize("moved", [0.0, 1e-5])
@pytest.mark.parametrize("aggregate", ["mean", "capped"])
def test_who_learned_nothing_does_not_slow_the_others_down(moved: float, aggregate: str) -> None:
    merger = made(Merger, aggregate=aggregate)
    for _ in range(5):  # then it is known what is usual
        merger.add(upload("honest", merger.current.weights + 1.0), Sent("honest", None))
        merger.close({})
    before = merger.current.weights.clone()
    for _ in range(5):
        merger.add(upload("honest", merger.current.weights + 1.0), Sent("honest", None))
        merger.add(upload("liar", merger.current.weights + moved), Sent("liar", None))
        assert merger.num_uploads == 2
        merger.close({})
    assert torch.allclose(merger.current.weights, before + 5.0)
    assert merger.current.steps == 15 * WORK


def test_a_round_in_which_nobody_learned_is_one_all_the_same() -> None:
    """Such as one that fills a replay: its steps and statistics count."""
    merger = made(Merger)
    for child in "ab":
        merger.add(upload(child, torch.zeros(SIZE)), Sent(child, None))
    merger.close({})
    assert (merger.current.version, merger.current.steps) == (1, 2 * WORK)
    assert not merger.current.weights.any()


def test_pairwise_stays_where_it_is_for_who_learned_nothing() -> None:
    merger = made(MixingMerger, alpha=0.5)
    assert isinstance(merger, MixingMerger)
    for child in ("honest", "idle"):
        merger.joined(child, anew=True)
    stale = merger.current.weights.clone()
    for _ in range(3):
        merger.add(upload("honest", merger.current.weights + 1.0), Sent("honest", None))
    before = merger.current
    assert merger.add(upload("idle", stale), Sent("idle", None)).weight == 0
    assert torch.equal(merger.current.weights, before.weights)
    merger.add(upload("honest", merger.current.weights + 1.0), Sent("honest", None))
    assert merger.current.steps == before.steps + 2 * WORK  # its steps were made


def weights_in_rounds(direction: float) -> list[float]:
    """What a child that claims much work counts in each round, beside an honest one."""
    merger, weights = made(Merger), []
    for _ in range(8):
        merger.add(upload("honest", merger.current.weights + 1.0), Sent("honest", None))
        large = upload("large", merger.current.weights + direction, work=50 * WORK)
        weights.append(merger.add(large, Sent("large", None)).weight)
        merger.close({})
    return weights


def test_much_work_counts_once_it_is_known_to_go_where_the_others_go() -> None:
    assert weights_in_rounds(1.0) == [WORK] * AFTER + [MOST_WEIGHT * WORK] * (8 - AFTER)


def test_who_goes_against_the_others_counts_no_more_than_they_do() -> None:
    """However much work it claims."""
    assert weights_in_rounds(-1.0) == [WORK] * 8
