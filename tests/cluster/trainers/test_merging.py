"""What a run asks of children whose weights are merged: pauses, episodes, what a checkpoint holds."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from marl.cluster.trainers.merging import LAST_ROUND_S, MOST_ASKED, Merging
from marl.cluster.trainers.trainer import Counts, Episodes
from marl.config.files import load_config
from marl.exchanges.sides import Global, State

DETERMINISTIC = {"deterministic": True, "exchange.every": "1000 steps", "stop.steps": 10_000}


class Side:
    """The parent's half: versions are the test's."""

    term = 3

    def __init__(self) -> None:
        self.current = Global(0, torch.zeros(2), None, 0)
        self.released: list[int] = []
        self.rounds: list[float] = []
        self.asked: list[int] = []  # for how many steps

    def saved(self) -> State:
        return State(self.current, velocity=torch.ones(2), merged={"a": 7}, limits={"b": 8})

    def release(self) -> None:
        self.released.append(self.current.version)

    def catch_up(self, steps: int) -> None:
        self.asked.append(steps)

    def last_round(self, seconds: float) -> None:
        self.rounds.append(seconds)

    def audited(self) -> Any:
        return self


class Reporting:
    """Children that have one new episode whenever they are asked."""

    steps = 10

    def counts(self) -> Counts:
        return Counts(np.array([self.steps]), np.array([4]), {}, 0)

    def tend(self) -> None:
        pass

    def episodes(self) -> Episodes:
        return np.ones(1), np.ones(1, np.int64)

    def info(self) -> dict[str, Any]:
        return {"run_id": "run"}

    def stop(self) -> None:
        pass


def made(info: dict[str, Any] | None = None, **settings: Any) -> tuple[Merging, Side]:
    given: Any = SimpleNamespace(config=load_config("CartPole-v1", settings), info=info or {})
    side = Side()
    return Merging(given, side, Reporting()), side  # type: ignore[arg-type]


def paused(trainer: Merging) -> int | None:
    """The version at which the children wait."""
    pause = trainer.pause()
    return None if pause is None else pause.number


def num_episodes(trainer: Merging) -> int:
    return len(trainer.episodes()[0])


def test_deterministic_episodes_count_when_a_round_is_over() -> None:
    """In between, which child has told already is a matter of time."""
    trainer, side = made(**DETERMINISTIC)
    assert (paused(trainer), num_episodes(trainer)) == (None, 0)
    side.current = side.current._replace(version=1)
    assert num_episodes(trainer) == 0  # not before the run knows of the round
    assert (paused(trainer), num_episodes(trainer)) == (1, 1)
    assert (paused(trainer), num_episodes(trainer)) == (None, 0)  # each is told once
    trainer.stop()
    assert num_episodes(trainer) == 1  # the last ones


def test_versions_at_which_nobody_waits_are_no_pause() -> None:
    """Children that share gradients make many between two rests."""
    trainer, side = made(**DETERMINISTIC)
    side.current = side.current._replace(version=4, rests=False)
    assert (paused(trainer), num_episodes(trainer)) == (None, 0)
    side.current = side.current._replace(rests=True)
    assert (paused(trainer), num_episodes(trainer)) == (4, 1)
    side.current = side.current._replace(version=5, rests=False)
    assert (paused(trainer), num_episodes(trainer)) == (None, 0)


def test_a_deterministic_run_is_saved_where_all_wait_and_nowhere_else() -> None:
    assert [made(**settings)[0].resumable for settings in ({}, DETERMINISTIC)] == [True, False]


def test_otherwise_they_count_at_once() -> None:
    trainer, _ = made()
    assert num_episodes(trainer) == 1


def test_children_that_wait_get_the_version_unless_the_run_ends() -> None:
    trainer, side = made(**DETERMINISTIC)
    side.current = side.current._replace(version=1)
    pause = trainer.pause()
    assert pause is not None
    pause.proceed(False)
    assert side.released == []
    pause.proceed(True)
    assert side.released == [1]


def test_a_checkpoint_holds_what_belongs_to_its_tensors() -> None:
    trainer, side = made({"updates": 100})
    snapshot = trainer.snapshot()
    side.current = side.current._replace(version=9)
    assert (set(snapshot.tensors), snapshot.updates) == ({"weights", "velocity"}, 104)
    expected = {"epoch": 3, "version": 0, "merged": {"a": 7}, "limits": {"b": 8}, "run_id": "run"}
    assert trainer.info() == expected


def test_a_parent_that_makes_optimizer_steps_counts_each_once() -> None:
    """However many workers have had a part in them, and report them."""
    trainer, side = made({"updates": 100})
    side.current = side.current._replace(updates=3)
    assert trainer.counts().updates.tolist() == [3]
    assert trainer.counts().steps.tolist() == [10]
    assert trainer.snapshot().updates == 103


def test_the_end_waits_for_a_last_round() -> None:
    trainer, side = made()
    trainer.last_round()
    assert side.rounds == [LAST_ROUND_S]


def test_the_side_says_whether_it_can_be_audited() -> None:
    trainer, side = made()
    assert trainer.audited() is side


@pytest.mark.parametrize(
    ("settings", "before", "asked"),
    [
        ({"stop.steps": 10}, 0, [10]),
        ({"stop.steps": 11}, 0, []),
        ({"stop.steps": 15}, 5, [15]),  # a resumed run
        ({"stop.minutes": 1}, 0, []),
        (DETERMINISTIC | {"stop.steps": 10}, 0, []),  # there reports come at any time
    ],
)
def test_children_that_have_played_all_are_asked_for_it_at_once(
    settings: dict[str, Any], before: int, asked: list[int]
) -> None:
    trainer, side = made({"steps": before}, **settings)
    side.current = side.current._replace(steps=before)
    trainer.tend()
    assert side.asked == asked
    assert trainer.steps() == before  # the run ends when they are merged


def test_steps_that_are_lost_are_not_asked_for_again() -> None:
    """A child died with them, or nobody believes that they were played."""
    given: Any = SimpleNamespace(config=load_config("CartPole-v1", {"stop.steps": 10}), info={})
    side, children = Side(), Reporting()
    trainer = Merging(given, side, children)  # type: ignore[arg-type]
    trainer.tend()
    side.current = side.current._replace(version=1, steps=6)
    trainer.tend()
    assert side.asked == [10]
    children.steps = 14
    trainer.tend()
    assert side.asked == [10, 14]
    side.current = side.current._replace(version=2, steps=10)
    trainer.tend()
    assert side.asked == [10, 14]


def test_children_that_report_ever_more_are_not_asked_for_ever() -> None:
    """Else every round of the run would end at once."""
    given: Any = SimpleNamespace(config=load_config("CartPole-v1", {"stop.steps": 10}), info={})
    side, children = Side(), Reporting()
    trainer = Merging(given, side, children)  # type: ignore[arg-type]
    for round_ in range(3 * MOST_ASKED):
        children.steps = 100 * (round_ + 1)
        trainer.tend()
        side.current = side.current._replace(version=side.current.version + 1)
    assert len(side.asked) == MOST_ASKED
