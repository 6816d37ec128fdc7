"""Evaluation in bounded time, by seeds that decided nothing, and by a process that may fail."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from marl.cluster.find_spaces import find_spaces
from marl.cluster.runs.evaluator import OWN_SEEDS, Evaluator, Score
from marl.cluster.snapshot import Snapshot
from marl.config.files import load_config
from marl.errors import WorkerFailed
from marl.processes.group import ProcessGroup
from marl.training.flat import flatten
from tests.cluster.runs.evaluating import BROKEN, DETERMINISTIC, KILLED, LIMITED, MISFIT, NEVER, Setting, weights
from tests.commands import BARE, MARL, PATIENCE_S, succeed, until


def test_the_final_evaluation_is_by_seeds_that_decided_nothing() -> None:
    setting = Setting()
    best = weights(7)
    setting.checkpoints.best = Score(best, 500.0, 0.0)
    summary, lacking = setting.evaluation.final(weights(9), setting.stopped, NEVER)
    assert lacking == ""
    assert summary is not None
    assert summary.episodes == 100
    assert summary.mean == 3.0  # of sets 1 to 5, 20 episodes each
    assert 2.5 < summary.ci_low < 3.0 < summary.ci_high < 3.5
    assert [request["seed_set"] for request in setting.fake.requests] == [1, 2, 3, 4, 5]
    assert all(request["snapshot"] is best for request in setting.fake.requests)


def test_without_any_evaluation_before_the_last_weights_are_evaluated() -> None:
    setting, last = Setting(), weights(9)
    assert setting.evaluation.final(last, setting.stopped, NEVER).summary is not None
    assert setting.fake.requests[0]["snapshot"] is last


@pytest.mark.parametrize(("key", "plays"), [("evaluation.final_episodes", True), ("evaluation.episodes", False)])
def test_none_is_wanted(key: str, plays: bool) -> None:
    setting = Setting(**{key: 0})
    assert setting.evaluation.final(weights(9), setting.stopped, NEVER) == (None, f"{key} is 0")
    assert setting.evaluation.decides is plays
    assert setting.fake.requests == []


@pytest.mark.parametrize(("answers", "episodes"), [(0, None), (2, 40)])
def test_what_time_allows_is_told_and_no_part_of_a_set_counts(answers: int, episodes: int | None) -> None:
    setting = Setting(answers)
    begun = time.monotonic()
    summary, lacking = setting.evaluation.final(weights(9), setting.stopped, begun + 0.05)
    assert time.monotonic() - begun < 1.0
    assert (summary.episodes if summary else None) == episodes
    assert lacking.startswith("they take longer than 0.")


def test_an_answer_that_comes_after_its_deadline_chooses_nothing() -> None:
    """The weights to write were chosen without it."""
    setting = Setting()
    setting.fake.submit(weights(8))
    setting.evaluation.last(weights(9), setting.stopped, 0.0)
    assert "were not evaluated" in setting.notes[0]
    summary, lacking = setting.evaluation.final(weights(9), setting.stopped, NEVER)
    assert (summary is not None, lacking, setting.weighed) == (True, "", [])
    assert [request["seed_set"] for request in setting.fake.requests] == [OWN_SEEDS, 1, 2, 3, 4, 5]


def test_an_evaluator_that_is_killed_over_the_final_evaluation() -> None:
    setting = Setting(0)
    setting.deaths = [KILLED]
    real = setting.fake.forget

    def forget() -> None:
        real()
        setting.fake.answers = NEVER

    setting.fake.forget = forget  # type: ignore[method-assign]
    summary, lacking = setting.evaluation.final(weights(9), setting.stopped, NEVER)
    assert (summary is not None, lacking) == (True, "")
    assert [request["seed_set"] for request in setting.fake.requests] == [1, 1, 2, 3, 4, 5]
    assert setting.notes == ["evaluator died (killed by SIGKILL (out of memory?)) and is started again"]


def test_a_signal_ends_the_final_evaluation() -> None:
    setting = Setting(1)
    setting.fake.unanswered = setting.stopped.set
    summary, lacking = setting.evaluation.final(weights(9), setting.stopped, NEVER)
    assert summary is not None
    assert (summary.episodes, lacking) == (20, "stopped")


@pytest.mark.parametrize("before", [True, False], ids=["another under way", "free"])
def test_the_last_weights_have_until_the_deadline(before: bool) -> None:
    setting = Setting(0)
    if before:
        setting.fake.submit(weights(1))
    begun = time.monotonic()
    setting.evaluation.last(weights(9), setting.stopped, begun + 0.05)
    assert time.monotonic() - begun < PATIENCE_S
    assert len(setting.notes) == 1
    assert "the last weights were not evaluated: 20 episodes were not over within 0." in setting.notes[0]


def test_a_deterministic_run_bounds_steps_instead_of_time() -> None:
    setting = Setting(**DETERMINISTIC)
    setting.fake.steps = 10_000
    setting.evaluation.last(weights(1_000), setting.stopped, time.monotonic())  # no time at all
    assert setting.evaluation.final(weights(1_000), setting.stopped, time.monotonic()).lacking == ""
    bounds = [request["max_steps"] for request in setting.fake.requests]
    assert bounds == [50_100, 50_100, 40_100, 30_100, 20_100, 10_100]  # all sets of the final one together


def test_a_deterministic_run_whose_evaluator_fails_at_the_end_keeps_what_it_learned() -> None:
    setting = Setting(0, **DETERMINISTIC, **{"node.max_restarts": 0})
    setting.deaths = [KILLED]
    setting.evaluation.last(weights(1_000), setting.stopped, 0.0)
    assert setting.notes == ["weights are evaluated no more: killed by SIGKILL (out of memory?) (the evaluator)"]
    assert "killed by SIGKILL" in setting.evaluation.final(weights(1_000), setting.stopped, 0.0).lacking


def test_a_deterministic_run_says_what_takes_too_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(**DETERMINISTIC)

    def out_of_steps(unused_seconds: float = 0.0) -> None:
        setting.fake.forget()

    monkeypatch.setattr(setting.fake, "played", out_of_steps)
    setting.evaluation.last(weights(1_000), setting.stopped, 0.0)
    assert setting.notes == ["the last weights were not evaluated: 20 episodes take over 50,100 steps"]
    final = setting.evaluation.final(weights(1_000), setting.stopped, 0.0)
    assert final == (None, "they take more than 50,100 steps")


@pytest.mark.parametrize("settings", [LIMITED, {"environment.solved_return": 50.0}, DETERMINISTIC])
def test_an_evaluator_that_keeps_failing(settings: dict[str, Any]) -> None:
    """Each death is told, as often as a worker may die; then only a run with another end goes on."""
    setting = Setting(0, **settings, **{"node.max_restarts": 3})
    setting.deaths = [KILLED] * 10

    def until_it_gives_up() -> None:
        for _ in range(20):
            if settings is DETERMINISTIC:
                setting.evaluation.wait_for(weights(1), setting.stopped)
            setting.offer()

    if settings is LIMITED:
        until_it_gives_up()
        assert not setting.offer()
        assert "are evaluated no more: killed by SIGKILL (out of memory?) (the evaluator after 3" in setting.notes.pop()
        final = setting.evaluation.final(weights(9), setting.stopped, NEVER)
        assert final.summary is None
        assert "killed by SIGKILL" in final.lacking
    else:
        with pytest.raises(WorkerFailed, match=r"killed by SIGKILL .*after 3 restarts; what was learned is saved"):
            until_it_gives_up()
    assert setting.notes == ["evaluator died (killed by SIGKILL (out of memory?)) and is started again"] * 3
    assert len(setting.fake.requests) == 4


def test_an_answer_in_between_forgives_the_deaths_before() -> None:
    setting = Setting(**LIMITED, **{"node.max_restarts": 1})
    for _ in range(5):
        setting.deaths = [KILLED]
        setting.fake.answers = len(setting.fake.requests)
        assert setting.offer()
        setting.evaluation.collect()
        setting.fake.answers = NEVER
        assert setting.offer()
        setting.evaluation.collect()
    assert len(setting.notes) == 5


def test_an_environment_that_does_not_keep_to_its_spaces_is_not_tried_again() -> None:
    """Also where it has been evaluated before."""
    setting = Setting(1, **LIMITED)
    assert setting.offer()
    setting.evaluation.collect()
    setting.deaths = [MISFIT]
    assert setting.offer()
    setting.evaluation.collect()
    assert setting.notes[0].startswith("weights are evaluated no more: another shape (the evaluator)")


def test_an_error_that_no_restart_can_mend() -> None:
    setting = Setting(0, **LIMITED)
    setting.deaths = [BROKEN]
    setting.offer()
    setting.evaluation.collect()
    assert setting.notes == [
        "weights are evaluated no more: no licence (the evaluator); training goes on to its other end"
    ]
    assert setting.traces == ["Traceback ..."]


def test_a_run_whose_evaluation_never_ends(tmp_path: Path) -> None:
    """It ends all the same, with the weights in place, and says that they were not evaluated."""
    (tmp_path / "waits.py").write_text(WAITS)
    words = (
        "train",
        "waits:Waits",
        "--steps",
        "2000",
        "--workers",
        "1",
        "--plain",
        *BARE,
        "--set",
        "evaluation.final_episodes=40",
    )
    out = succeed(*MARL, *words, cwd=tmp_path)
    assert re.search(r"the last weights were not evaluated: 20 episodes were not over within [1-9]", out)
    assert "Ended (steps)" in out
    assert "not evaluated (they take longer than " in out
    assert (tmp_path / "weights.pt").is_file()


def test_the_process_is_given_weights_while_it_makes_its_environments(tmp_path: Path) -> None:
    """More than a pipe holds: the main process has to look after the run meanwhile."""
    allowed = tmp_path / "allowed"
    environment = {"environment.id": "tests.process_targets:made_when", "environment.kwargs": {"file": str(allowed)}}
    config = load_config(None, {**environment, "network.hidden": [256, 256], "evaluation.episodes": 2, "seed": 1})
    spaces = find_spaces(load_config("CartPole-v1"))
    vector = flatten(config.algorithm.build_network(spaces, config.network, 0)).weights.clone()
    assert vector.nbytes > 220_000
    with ProcessGroup() as group:
        evaluator = Evaluator(config, spaces, group)
        evaluator.submit(Snapshot({"weights": vector}, 0, 0), max_steps=1)
        assert evaluator.played() is None
        allowed.touch()
        assert until(lambda: not evaluator.busy or evaluator.played(0.1), PATIENCE_S) is True  # out of steps
        evaluator.submit(Snapshot({"weights": vector}, 0, 0))
        played = until(lambda: evaluator.played(0.1), PATIENCE_S)
        assert played.returns.shape == (2,)


WAITS = """
import threading
from multiprocessing import current_process

from gymnasium.envs.classic_control import CartPoleEnv


class Waits(CartPoleEnv):
    def step(self, action):
        if current_process().name == "marl evaluator":
            threading.Event().wait()
        return super().step(action)
"""


def test_the_episodes_of_each_evaluation_are_cut_by_what_training_has_seen() -> None:
    """None is played on for ever; in deterministic mode the limit depends on no clock."""
    setting = Setting(**LIMITED)
    assert setting.offer()
    setting.evaluation.collect()
    setting.evaluation.last(weights(9), setting.stopped, NEVER)
    setting.evaluation.final(weights(9), setting.stopped, NEVER)
    assert {request["limit"] for request in setting.fake.requests} == {1_500}
    setting = Setting(**DETERMINISTIC)
    setting.evaluation.wait_for(weights(9), setting.stopped)
    assert [request["limit"] for request in setting.fake.requests] == [None]


def test_episodes_that_were_cut_are_told_once_with_the_limit() -> None:
    setting = Setting(**LIMITED)
    setting.fake.cut = 7
    for _ in range(2):
        assert setting.offer()
        setting.evaluation.collect()
    assert setting.notes == ["7 of 20 evaluation episodes did not end by themselves and were cut after 1,500 steps"]
    assert [(score.cut, score.limit) for score in setting.weighed] == [(7, 1_500)] * 2


def test_nothing_is_said_to_be_saved_where_nothing_was_learned() -> None:
    setting = Setting(0, **{"node.max_restarts": 0})
    setting.count(updates=0)
    setting.deaths = [KILLED]
    assert setting.offer()
    with pytest.raises(WorkerFailed, match=r"\(out of memory\?\) \(the evaluator\)$"):
        setting.offer()
