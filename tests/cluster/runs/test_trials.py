"""The one of two who makes weights worse is found, whatever the order of trials; honest ones are left in peace."""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import pytest

from marl.cluster.runs.trials import (
    LONGEST_S,
    MOST_DEATHS,
    MOST_TRIALS,
    PATIENCE_S,
    PEACE_S,
    PLAY_S,
    ROUNDS,
    Audit,
    Auditor,
)
from marl.cluster.snapshot import Snapshot
from marl.config.files import load_config
from marl.data.spaces import Spaces
from marl.exchanges.sides import Audited, Global, Standing
from marl.processes.group import ProcessGroup
from tests import process_targets as targets
from tests.cluster.runs.trial import Group, Plays, Side, better, held, made, made_with, worse


@pytest.mark.parametrize("order", [("honest", "liar"), ("liar", "honest")])
@pytest.mark.parametrize("earned", [9.0, 20.0, 300.0])
@pytest.mark.parametrize("dies", [0, 2])
def test_who_ruins_the_weights_is_named(order: tuple[str, str], earned: float, dies: int) -> None:
    ways = {"honest": better, "liar": worse}
    side = Side(earned, {name: ways[name] for name in order})
    held(side, dies=dies)
    assert side.accused == ["liar"]
    assert not side.aside
    assert float(side.current.weights[0]) == 500.0


def test_what_a_liar_leaves_is_not_where_the_honest_one_begins() -> None:
    """Weights that earn least already cannot be seen to get worse, but they do: learning takes long to mend them."""
    side = Side(9.0, {"liar": worse, "honest": better})
    went_back: list[Global] = []
    go_back = side.go_back
    side.go_back = lambda to: (went_back.append(to), go_back(to))[1]  # type: ignore[method-assign]
    held(side)
    assert went_back[0].version <= 2  # after the liar's first trial, which changed nothing that could be seen
    assert side.accused == ["liar"]


def test_weights_that_a_liar_has_ruined_already_are_not_where_trials_begin() -> None:
    """Nothing is learned from dead ones, by whomever: the run would stay there for ever."""
    ways: dict[str, Callable[[float], float]] = {
        "liar": lambda earned: -earned,
        "honest": lambda earned: 0.15 * earned if earned > 9.0 else 0.0,
    }
    side, notes = Side(20.0, ways), list[str]()
    audit = made(side, notes)
    for _ in range(3):
        side.a_round()
    assert float(side.current.weights[0]) == 9.0
    for _ in range(200):
        side.a_round()
        audit.tend()
    assert side.accused == ["liar"]
    assert float(side.current.weights[0]) == 500.0


def test_learning_that_has_hardly_begun_may_ruin_its_weights() -> None:
    """An honest child's first trials are as bad as a liar's: only who ruins what the other does not is named."""
    dips = [True] * (2 * ROUNDS)

    def beginner(earned: float) -> float:
        return -0.15 * earned if dips and dips.pop() else 0.15 * earned

    side = Side(20.0, {"honest": beginner, "liar": worse})
    audit = made(side, [])
    while not side.aside:
        audit.tend()
    for _ in range(200):
        side.a_round()
        audit.tend()
    assert not dips
    assert side.accused == ["liar"]


def test_the_first_trial_begins_before_anything_has_been_played() -> None:
    """A process that plays may need seconds to start: rounds in which two who oppose each other cancel out."""
    side = Side(20.0, {"a": better, "b": better})
    audit, plays = made_with(side)
    plays.hangs = True
    for _ in range(3 * ROUNDS):
        side.a_round()
        audit.tend()
    assert (side.aside, plays.asked) == ({"b"}, 1)  # it goes on until what it began with was played
    plays.hangs = False
    before = side.current.version
    while side.aside == {"b"}:
        audit.tend()
    assert side.aside == {"a"}
    assert side.current.version == before  # longer than the rounds of a trial it need not go on
    assert plays.asked == 3


def test_it_plays_as_in_training() -> None:
    """What weights that have hardly learned earn by their most likely actions is luck."""
    config = load_config("CartPole-v1", {})
    assert config.evaluation.greedy
    assert not Auditor(config, cast(Spaces, None), cast(ProcessGroup, Group()))._config.evaluation.greedy


def test_two_honest_ones_are_left_in_peace() -> None:
    side = Side(20.0, {"a": better, "b": lambda earned: -0.01 * earned})
    notes = held(side, rounds=MOST_TRIALS * (ROUNDS + 4) + 50)
    assert side.accused == []
    assert not side.aside
    assert len(notes) == 1  # and not tried again at once


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("marl.cluster.runs.trials.time", made)
    return made


def tried(side: Side, clock: Clock, notes: list[str]) -> Audit:
    """An audit in which ``a`` is tried, where rounds of two seconds are usual."""
    audit = made(side, notes)
    audit._calm_until = clock.now + 11
    for _ in range(6):
        side.a_round()
        audit.tend()
        clock.now += 2
    while not side.aside:
        audit.tend()
    assert side.aside == {"b"}
    return audit


def silent(audit: Audit, clock: Clock, seconds: float) -> None:
    for _ in range(int(seconds)):
        clock.now += 1
        audit.tend()


def test_who_says_nothing_when_tried_is_tried_again_and_then_named(clock: Clock) -> None:
    side = Side(20.0, {"a": better, "b": better})
    audit = tried(side, clock, [])
    patience = PATIENCE_S + 3 * 2
    silent(audit, clock, patience + 1)
    assert side.accused == []
    silent(audit, clock, patience + 1)
    assert side.accused == ["a"]
    assert not side.aside


def test_a_trial_that_stops_is_evaluated_by_what_it_made(clock: Clock) -> None:
    side = Side(20.0, {"a": better, "b": better})
    audit = tried(side, clock, [])
    side.a_round()
    silent(audit, clock, LONGEST_S)
    assert side.accused != ["a"]
    assert "b" not in side.aside


@pytest.mark.parametrize("standing", [Standing.GONE, Standing.QUARANTINED])
def test_a_trial_ends_with_who_is_tried(clock: Clock, standing: Standing) -> None:
    side = Side(20.0, {"a": better, "b": better})
    audit = tried(side, clock, [])
    side.standings["a"] = standing
    audit.tend()
    assert not side.aside
    assert side.accused == []


def test_honest_ones_are_tried_ever_more_rarely(clock: Clock) -> None:
    side, notes = Side(20.0, {"a": better, "b": better}), list[str]()
    audit, begun = made(side, notes), list[float]()
    while len(begun) < 5:
        side.a_round()
        audit.tend()
        clock.now += 0.1
        if len(notes) > len(begun):
            begun.append(clock.now)
    pauses = [later - earlier for earlier, later in pairwise(begun)][
        1:
    ]  # in the first, the run's first weights are played
    case = pauses[0] - 2 * PEACE_S
    assert [pause - case for pause in pauses] == pytest.approx([PEACE_S * 2**number for number in (1, 2, 3)], abs=0.5)


def test_one_bad_trial_names_nobody() -> None:
    bad = [True] * ROUNDS

    def unlucky(earned: float) -> float:
        return -0.15 * earned if bad and bad.pop() else 0.15 * earned

    side = Side(300.0, {"a": unlucky, "b": better})
    audit = made(side, [])
    while not side.aside:
        audit.tend()
    for _ in range(100):
        side.a_round()
        audit.tend()
    assert not bad
    assert side.accused == []


def test_who_evaluates_may_die_only_so_often(clock: Clock) -> None:
    side, notes = Side(20.0, {"a": better, "b": better}), list[str]()
    audit = made(side, notes, dies=10**6)
    silent(audit, clock, 500)
    assert cast(Plays, audit._auditor).asked == MOST_DEATHS
    assert not side.aside
    assert [note for note in notes if "cannot be evaluated" in note] == notes[1:]
    assert len(notes) == 2


def test_who_never_answers_holds_nobody_up(clock: Clock) -> None:
    side, notes = Side(20.0, {"a": better, "b": better}), list[str]()
    audit = tried(side, clock, notes)
    plays = cast(Plays, audit._auditor)
    plays.hangs = True
    for _ in range(ROUNDS):
        side.a_round()
    silent(audit, clock, PLAY_S + 5)
    assert not side.aside
    assert "cannot be evaluated" in notes[-1]
    asked = plays.asked
    silent(audit, clock, 1000)
    assert plays.asked == asked  # its late answer would be taken for another
    plays.hangs = False
    silent(audit, clock, 1)
    assert plays.asked == asked + 1


@pytest.mark.parametrize("asked", [False, True], ids=["idle", "playing for a case that was given up"])
def test_an_auditor_that_dies_between_cases_leaves_the_group_and_is_told_of(asked: bool) -> None:
    """Every wait of the group would end at once, and no case would ever begin."""
    notes, traces = list[str](), list[str]()
    config, side = load_config("CartPole-v1", {}), cast(Audited, Side(20.0, {}))
    with ProcessGroup() as group:
        audit = Audit(config, cast(Spaces, None), group, side, note=notes.append, log=traces.append)
        if asked:
            audit._auditor._under_way = Snapshot({}, 0, 0)
        group.start(Auditor.NAME, targets.fails).process.join()
        for _ in range(2):
            audit.tend()
        assert group.members == {}
    assert not audit._auditor.busy
    died = "auditor died (ValueError: the sum is wrong)"
    assert notes == [f"{died}; it is started again when weights are to be played"]
    assert ["in fails" in trace for trace in traces] == [True]
