import pytest

from marl.algorithms.a3c import A3C


@pytest.mark.parametrize(("schedule", "halfway"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5), ("auto", 0.5)])
def test_learning_rate_halfway(schedule, halfway):
    algorithm = A3C(learning_rate=1.0, schedule=schedule)
    assert algorithm.learning_rate_at(0.5) == pytest.approx(halfway)
    assert algorithm.learning_rate_at(0.0) == 1.0
