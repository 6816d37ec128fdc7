import numpy as np
import pytest

from marl.reports.plots import distribution
from marl.reports.plots.distribution import histogram_text, summarize, summary_text


def test_numbers_a_person_can_work_out() -> None:
    summary = summarize(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (summary.mean, summary.median, summary.minimum, summary.maximum) == (3.0, 3.0, 1.0, 5.0)
    assert (summary.quartile_1, summary.quartile_3, summary.episodes) == (2.0, 4.0, 5)
    assert summary.std == pytest.approx(2.0**0.5)


def test_the_interval_agrees_with_the_normal_one_for_many_episodes() -> None:
    returns = np.random.default_rng(1).normal(100.0, 10.0, 400)
    summary = summarize(returns)
    half = 1.96 * returns.std() / 20.0
    assert summary.ci_low == pytest.approx(returns.mean() - half, abs=0.1)
    assert summary.ci_high == pytest.approx(returns.mean() + half, abs=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    returns = np.arange(30.0)
    assert summarize(returns, seed=3) == summarize(returns, seed=3)
    assert summarize(returns, seed=3) != summarize(returns, seed=4)


def test_chunks_cover_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = summarize(np.arange(7.0))
    monkeypatch.setattr(distribution, "_CHUNK", 7 * 999)
    assert summarize(np.arange(7.0)) == whole


def test_one_episode() -> None:
    summary = summarize(np.array([4.0]))
    assert (summary.std, summary.ci_low, summary.ci_high) == (0.0, 4.0, 4.0)


def test_no_episodes() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        summarize(np.array([]))
    assert histogram_text(np.array([])) == "no episodes"


def test_summary_lines_are_aligned() -> None:
    lines = summary_text(summarize(np.full(1200, 500.0))).splitlines()
    assert lines[0] == "episodes       1,200"
    assert lines[2] == "95 % interval  500.00 to 500.00"


def test_bars_are_as_long_as_their_counts() -> None:
    values = np.concatenate([np.full(count, value) for value, count in ((0.0, 10), (1.0, 5), (2.0, 1))])
    lines = histogram_text(values, width=26).splitlines()
    assert [line.count("█") for line in lines] == [20, 10, 2]
    assert [line.split()[-1] for line in lines] == ["10", "5", "1"]
    assert {len(line) for line in lines} == {26}


def test_every_episode_is_in_a_bar() -> None:
    values = np.random.default_rng(0).normal(-200.0, 1e-3, 1000)
    lines = histogram_text(values, bins=8).splitlines()
    assert len(lines) == 8
    assert sum(int(line.split()[-1]) for line in lines) == 1000


@pytest.mark.parametrize(
    "values",
    [
        np.full(20, 500.0),
        np.full(20, 0.0),
        1e12 + 1e-3 * np.arange(30.0),
        np.array([1.0, np.nan, 1.0, np.inf]),
    ],
)
def test_equal_values_are_one_bar(values: np.ndarray) -> None:
    assert len(histogram_text(values).splitlines()) == 1


def test_a_single_episode_among_thousands_can_be_seen() -> None:
    lines = histogram_text(np.append(np.zeros(100_000), 1.0)).splitlines()
    assert "▏" in lines[1]


def test_cut_episodes_are_named_where_there_are_any() -> None:
    returns = np.array([1.0, 2.0])
    assert "cut" not in summary_text(summarize(returns))
    assert summary_text(summarize(returns, cut=1)).splitlines()[0].split(None, 1)[1] == (
        "2, 1 of them cut: they did not end by themselves"
    )
