"""Against literal float64 references, numbers worked out by hand, and rliable where it is installed."""

import numpy as np
import pytest

from marl.studies.statistics import (
    RESAMPLES,
    estimate_interquartile_mean,
    estimate_means,
    estimate_ratio,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)

GENERATOR = np.random.default_rng(7)
SOME = GENERATOR.normal(1.0, 0.5, (8, 3))
OTHERS = GENERATOR.normal(1.3, 0.5, (5, 3))


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float64).reshape(-1, 1)


def test_an_interquartile_mean_leaves_out_a_quarter_at_either_end() -> None:
    assert interquartile_mean(column(100.0, 1.0, 2.0, 3.0, -50.0, 4.0, 5.0, 6.0)) == 3.5  # 2, 3, 4, 5
    assert interquartile_mean(column(1.0, 2.0, 6.0)) == 3.0  # a quarter of three is none
    assert interquartile_mean(np.array([[1.0, 9.0], [2.0, 3.0]])) == 2.5  # of all tasks together
    assert interquartile_mean(column(7.0)) == 7.0


def test_a_ratio_is_that_of_interquartile_means() -> None:
    ratio = estimate_ratio(column(8.0, 8.0, 8.0), column(1.0, 2.0, 3.0))
    assert ratio == (4.0, pytest.approx(8 / 3, abs=0.2), pytest.approx(8 / 1.0, abs=0.2))


def test_probability_of_improvement_counts_pairs() -> None:
    # 2 = 2: half, 4 > 2, 4 > 3; the other three of the six pairs are lost.
    assert probability_of_improvement(column(1.0, 2.0, 4.0), column(2.0, 3.0)).value == 2.5 / 6
    assert probability_of_improvement(column(5.0, 6.0), column(1.0, 2.0)) == (1.0, 1.0, 1.0)
    assert probability_of_improvement(column(3.0, 3.0), column(3.0, 3.0)) == (0.5, 0.5, 0.5)


def test_probability_of_improvement_is_a_mean_over_tasks() -> None:
    by_task = [probability_of_improvement(SOME[:, [task]], OTHERS[:, [task]]).value for task in range(3)]
    assert probability_of_improvement(SOME, OTHERS).value == pytest.approx(np.mean(by_task), abs=1e-12)


def test_a_profile_says_how_many_are_above() -> None:
    profile = performance_profile(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.0, 1.0, 2.5, 4.0]))
    assert profile.value.tolist() == [1.0, 0.75, 0.5, 0.0]
    assert profile.low[0] == profile.high[0] == 1.0


@pytest.mark.parametrize("tasks", [1, 3])
def test_intervals_are_percentiles_of_runs_drawn_within_tasks(tasks: int) -> None:
    """Drawn again, one resample at a time, from other random numbers."""
    some, others = SOME[:, :tasks], OTHERS[:, :tasks]
    generator = np.random.default_rng(11)
    means, ratios, better, lines = [], [], [], []
    for _ in range(3000):
        drawn = drawn_rows(some, generator)
        against = drawn_rows(others, generator)
        means.append(middle_mean(drawn))
        ratios.append(middle_mean(drawn) / middle_mean(against))
        better.append(np.mean([np.mean(drawn[:, [task]] > against[:, task]) for task in range(tasks)]))
        lines.append([np.mean(drawn > 0.9), np.mean(drawn > 1.2)])
    for estimate, again in (
        (estimate_interquartile_mean(some), means),
        (estimate_ratio(some, others), ratios),
        (probability_of_improvement(some, others), better),
    ):
        assert [estimate.low, estimate.high] == pytest.approx(np.quantile(again, [0.025, 0.975]), abs=0.03)
        assert estimate.low < estimate.value < estimate.high
    profile = performance_profile(some, np.array([0.9, 1.2]))
    ends = np.quantile(lines, [0.025, 0.975], axis=0)
    assert profile.low == pytest.approx(ends[0], abs=0.06)
    assert profile.high == pytest.approx(ends[1], abs=0.06)


def middle_mean(scores: np.ndarray) -> float:
    flat = sorted(scores.ravel())
    cut = len(flat) // 4
    return float(np.mean(flat[cut : len(flat) - cut]))


def drawn_rows(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Runs drawn with replacement, for each task on its own."""
    runs, tasks = scores.shape
    return np.array([[scores[generator.integers(runs), task] for task in range(tasks)] for _ in range(runs)])


def test_the_same_scores_give_the_same_numbers() -> None:
    assert estimate_interquartile_mean(SOME) == estimate_interquartile_mean(SOME.copy())
    assert probability_of_improvement(SOME, OTHERS) == probability_of_improvement(SOME.copy(), OTHERS)
    for first, second in zip(estimate_means(SOME[:, :1, None]), estimate_means(SOME[:, :1, None]), strict=True):
        assert first.tolist() == second.tolist()


def test_one_run_has_no_interval() -> None:
    for estimate in (
        estimate_interquartile_mean(column(3.0)),
        estimate_ratio(column(3.0, 4.0), column(2.0)),
        probability_of_improvement(column(3.0), column(1.0, 2.0)),
        estimate_means(np.array([[[3.0]]])),
    ):
        assert np.isfinite(estimate.value)
        assert np.isnan(estimate.low)
        assert np.isnan(estimate.high)


def test_many_runs_are_drawn_in_parts() -> None:
    """More than fit at once: 400 runs x 10,000 resamples."""
    scores = np.random.default_rng(3).normal(0.0, 1.0, (400, 1))
    estimate = estimate_interquartile_mean(scores)
    assert RESAMPLES * scores.size > 2**20
    assert estimate.low < estimate.value < estimate.high
    assert estimate.high - estimate.low < 0.4


@pytest.mark.slow
def test_rliable_agrees() -> None:
    """The program of the paper's authors, with as many resamples."""
    pytest.importorskip("rliable")
    from rliable import library, metrics

    scores, intervals = library.get_interval_estimates({"some": SOME}, metrics.aggregate_iqm, reps=5_000)
    ours = estimate_interquartile_mean(SOME)
    assert ours.value == pytest.approx(float(scores["some"]), abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx(intervals["some"].ravel(), abs=0.02)
    scores, intervals = library.get_interval_estimates(
        {"both": (SOME, OTHERS)}, metrics.probability_of_improvement, reps=500
    )
    better = probability_of_improvement(SOME, OTHERS)
    assert better.value == pytest.approx(float(scores["both"]), abs=1e-12)
    assert [better.low, better.high] == pytest.approx(intervals["both"].ravel(), abs=0.03)
    thresholds = np.linspace(0.0, 2.0, 9)
    profiles, intervals = library.create_performance_profile({"some": SOME}, thresholds, reps=5_000)
    profile = performance_profile(SOME, thresholds)
    assert profile.value == pytest.approx(profiles["some"], abs=1e-12)
    assert np.array([profile.low, profile.high]) == pytest.approx(intervals["some"], abs=0.05)
