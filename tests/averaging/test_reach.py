import math

from marl.averaging.reach import MOST_UPDATES, Reach


def test_updates_by_work_and_by_time() -> None:
    reach = Reach(usual=1.0, most=2.0, warm_up=0.0, per_step=0.1, per_trajectory=3.0, lag=0.0)
    assert reach.lengths(100, 2, None) == (26.0, 52.0)  # 2 * .1 * 100 + 2 * 3
    assert reach.lengths(1e12, 2, 0.001) == (2 * 0.001 * MOST_UPDATES, 4 * 0.001 * MOST_UPDATES)
    assert reach._replace(per_step=math.inf).lengths(100, 2, 1.0) == (2 * MOST_UPDATES, 4 * MOST_UPDATES)
    assert reach._replace(per_step=math.inf).lengths(100, 2, None) == (math.inf, math.inf)
