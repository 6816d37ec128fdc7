import pytest

from marl.reports.events import Status


@pytest.fixture
def status() -> Status:
    """A status to show and to write."""
    return Status(
        seconds=12.34,
        steps=123_456,
        episodes=987,
        updates=4_321,
        steps_per_second=45_678.0,
        return_mean=312.4,
        return_std=50.1,
        length_mean=312.0,
        window_filled=100,
        metrics={"policy_loss": -0.0123, "value_loss": 1.5, "entropy": 0.61, "learning_rate": 7e-4},
        worker_rates=(11_000.0, 12_000.0, 11_500.0, 11_178.0),
        progress=0.43,
        stop_text="until solved (mean return >= 475)",
        seconds_left=75.0,
        restarts=0,
    )
