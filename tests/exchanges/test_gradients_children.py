"""Children that share gradients join, go, are late, die and end; those that take part always have the same bits."""

import threading
from dataclasses import replace

import pytest
import torch

from marl.algorithms.apex_dqn import ApexDQN
from marl.algorithms.base import Algorithm
from marl.algorithms.ppo import PPO
from marl.data.settings import ReplaySettings
from marl.data.trajectory import Trajectory
from marl.exchanges.gradients import parent as parent_module
from marl.exchanges.gradients.memory import rounds_of
from marl.exchanges.gradients.settings import DELAYED, EXACT
from tests.algorithms.cases import DISCRETE, random_batch
from tests.commands import PATIENCE_S
from tests.exchanges.shards import Fleet

T, B = 5, 2
SMALL = PPO(t_max=T, epochs=2, num_minibatches=2)
ROUNDS = 5  # of each trajectory: 4 minibatches, and the moments of their advantages
REPLAY = ReplaySettings(ratio=2.0, capacity=60, start=10, batch_size=5)
both = pytest.mark.parametrize("algorithm", [SMALL, ApexDQN(t_max=T, target_period=7)], ids=["ppo", "apex_dqn"])


@pytest.fixture(params=[EXACT, DELAYED])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def algorithm() -> Algorithm:
    return SMALL


@pytest.fixture
def fleet(fleets: list[Fleet], form: str, algorithm: Algorithm) -> Fleet:
    """Two children of one worker; none is connected."""
    fleets.append(Fleet(DISCRETE, algorithm, [1, 1], B, REPLAY, form=form))
    return fleets[0]


def some(fleet: Fleet, seed: int) -> list[Trajectory]:
    """Trajectories for one worker."""
    with torch.no_grad():
        batches = [random_batch(DISCRETE, 10 * seed + each, T, B) for each in range(4)]
        policy = fleet.network().policy
        return [each._replace(behaviour=policy(each.observations[:-1])) for each in batches]  # type: ignore[operator]


def test_a_child_that_joins_late_begins_with_the_others_next_trajectory(fleet: Fleet) -> None:
    """It takes over weights and optimizer, and from then on all have the same bits."""
    first, second = fleet.nodes
    first.connect()
    fleet.wait(first.learn(0, some(fleet, 0), 3 * ROUNDS))
    assert fleet.parent.current.version == 3 * ROUNDS
    second.connect()
    fleet.wait(first.learn(0, some(fleet, 5), 7 * ROUNDS), second.learn(0, some(fleet, 7), 7 * ROUNDS))
    assert fleet.parent.current.version == 7 * ROUNDS
    fleet.demand_the_same_bits()


def test_a_child_that_joins_while_others_learn_waits_for_their_next_trajectory(fleet: Fleet) -> None:
    first, second = fleet.nodes
    first.connect()
    joins = threading.Event()

    def between(played: int) -> None:
        if played == 3:
            joins.set()

    learning = first.learn(0, some(fleet, 0), 12 * ROUNDS, between)
    assert joins.wait(PATIENCE_S)
    second.connect()
    fleet.wait(learning, second.learn(0, some(fleet, 7), 12 * ROUNDS))
    assert fleet.parent.current.version == 12 * ROUNDS
    fleet.demand_the_same_bits()


@both
def test_a_child_that_goes_is_not_waited_for_and_may_come_back(fleet: Fleet) -> None:
    first, second = fleet.nodes
    rounds = rounds_of(fleet.run)
    for node in fleet.nodes:
        node.connect()
    fleet.wait(*[node.learn(0, some(fleet, rank), 2 * rounds) for rank, node in enumerate(fleet.nodes)])
    second.disconnect()
    fleet.wait(first.learn(0, some(fleet, 5), 5 * rounds))
    assert fleet.parent.current.version == 5 * rounds
    second.connect()
    fleet.wait(*[node.learn(0, some(fleet, rank), 7 * rounds) for rank, node in enumerate(fleet.nodes)])
    fleet.demand_the_same_bits()


@both
def test_a_child_that_is_late_misses_rounds(fleet: Fleet) -> None:
    """The others wait for a while only; it takes part in one of their next trajectories."""
    first, second = fleet.nodes
    for node in fleet.nodes:
        node.connect()
    rests, goes_on, alone, again = (threading.Event() for _ in range(4))

    def stands(played: int) -> None:
        if played == 2:
            rests.set()
            assert goes_on.wait(PATIENCE_S)
        if played == 6:
            again.set()

    def watched(played: int) -> None:
        if played == 4:  # two of them without the other
            alone.set()

    for node, between in ((second, stands), (first, watched)):
        node.learn(0, some(fleet, 0), 10**6, between)
    assert rests.wait(PATIENCE_S)
    while not alone.wait(0.01):  # time passes for the parent
        fleet.clock.now += 1.0
    goes_on.set()
    assert again.wait(PATIENCE_S)
    fleet.close()
    assert second.side.version > 4 * rounds_of(fleet.run)
    for node in fleet.nodes:
        assert torch.equal(node.block["weights"], fleet.parent.versions[node.side.version])
    assert not fleet.notes
    assert not fleet.errors


def test_a_worker_that_died_takes_part_again_with_the_next_trajectory(fleets: list[Fleet], form: str) -> None:
    fleets.append(fleet := Fleet(DISCRETE, SMALL, [2], B, form=form))
    (node,) = fleet.nodes
    node.connect()
    fleet.wait(*[node.learn(worker, some(fleet, worker), 3 * ROUNDS) for worker in range(2)])
    lives = node.learn(0, some(fleet, 0), 12 * ROUNDS)  # without the other, which it would wait for if it lived
    fleet.wait(lives, node.learn(1, some(fleet, 3), 12 * ROUNDS))
    assert fleet.parent.current.version == 12 * ROUNDS
    fleet.demand_the_same_bits()


@both
def test_a_parent_that_is_resumed_goes_on_with_the_same_bits(
    algorithm: Algorithm, fleets: list[Fleet], form: str
) -> None:
    """As if it had never stopped: its children give up what they have."""
    ways = []
    for resumes in (False, True):
        fleets.append(fleet := Fleet(DISCRETE, algorithm, [1, 1], B, REPLAY, form=form))
        each = rounds_of(fleet.run)
        for part in (0, 1):
            if part and resumes:
                saved, old = fleet.parent.saved(), fleet.parent
                for node in fleet.nodes:
                    node.disconnect()
                fleet.parent = fleet.make_parent(
                    version=saved.current.version, steps=saved.current.steps, term=1, weights=saved.current.weights
                )
                fleet.parent.restore(saved.optimizer, saved.merged, saved.limits)
                for rank, node in enumerate(fleet.nodes):
                    fleet.parent.assign_rank(node.name, rank, 1)
                    node.block["weights"].zero_()
                    node.side.started.clear()  # workers begin when it has the parent's
                old.close()
            if not part or resumes:
                for node in fleet.nodes:
                    node.connect()
            fleet.wait(
                *[
                    node.learn(0, some(fleet, 10 * part + rank), (3 + 3 * part) * each)
                    for rank, node in enumerate(fleet.nodes)
                ]
            )
        fleet.demand_the_same_bits()
        ways.append(fleet.weights())
    assert torch.equal(*ways)


@pytest.mark.parametrize("form", [EXACT])  # where it is certain which upload tells what
def test_a_trajectory_counts_when_it_is_reported_if_that_is_enough(fleet: Fleet) -> None:
    """Uploads tell it with the next one. Nobody is believed to be further ahead, and no step counts twice."""
    for node in fleet.nodes:
        node.connect()
    given = [some(fleet, rank) for rank in range(2)]
    played = [sum(int(each[number].valid.sum()) for each in given) for number in range(4)]

    def learn(trajectories: int) -> None:
        fleet.wait(*[node.learn(0, given[rank], trajectories * ROUNDS) for rank, node in enumerate(fleet.nodes)])

    learn(2)
    assert fleet.parent.current.steps == played[0]
    fleet.parent.catch_up(sum(played[:2]))
    assert fleet.parent.current.steps == sum(played[:2])
    for _ in range(2):
        fleet.parent.catch_up(10**9)
        assert fleet.parent.current.steps == played[0] + 2 * T * B
    learn(4)
    assert fleet.parent.current.steps == sum(played[:2]) + played[0]  # a worker begins with the first one again


def test_the_end_waits_until_children_have_told_the_steps_that_are_in_the_weights(fleet: Fleet) -> None:
    for node in fleet.nodes:
        node.connect()
    fleet.wait(*[node.learn(0, some(fleet, rank), 2 * ROUNDS) for rank, node in enumerate(fleet.nodes)])
    ends = fleet.spawn(lambda: fleet.parent.last_round(1e9))
    while ends.is_alive():  # time passes for the children, which report when some has passed
        fleet.clock.now += 1.0
        ends.join(0.01)
    assert sum(fleet.told.values()) >= fleet.parent.current.steps > 0


def test_a_child_whose_build_gives_other_bits_is_told_of_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has them again after each comparison, and goes on from the weights of the parent each time."""
    monkeypatch.setattr(parent_module, "COMPARE_EVERY", 2 * ROUNDS)
    first, second = fleet.nodes

    def computes_otherwise(unused_played: int) -> None:
        second.block["weights"][0] += 1e-3

    first.connect()
    second.connect()
    until = 9 * ROUNDS
    fleet.wait(
        first.learn(0, some(fleet, 0), until), second.learn(0, some(fleet, 1), until, between=computes_otherwise)
    )
    assert fleet.notes == [
        "child1 has computed other weights by the same gradients, and goes on from those of the parent: use the same "
        "torch build and the same kind of machine everywhere"
    ]
    assert sum("has computed other weights" in note for note in second.notes) > 1
    assert first.notes == []


def test_the_end_does_not_wait_for_a_child_that_goes(fleet: Fleet) -> None:
    first, second = fleet.nodes
    first.connect()
    second.connect()
    ends = fleet.spawn(lambda: fleet.parent.last_round(1e9))
    first.disconnect()
    second.disconnect()
    fleet.wait(ends)


def test_children_stop_together_where_the_policy_has_moved_enough(fleets: list[Fleet], form: str) -> None:
    """All decide by the divergence over the transitions of all: epochs end in none of them before the others."""
    algorithm = replace(SMALL, epochs=9, kl_stop=1e-4, learning_rate=1e-2)
    fleets.append(fleet := Fleet(DISCRETE, algorithm, [1, 1], B, form=form))
    for node in fleet.nodes:
        node.connect()
    until = 3 * rounds_of(fleet.run)
    fleet.wait(*[node.learn(0, some(fleet, rank), until) for rank, node in enumerate(fleet.nodes)])
    fleet.demand_the_same_bits()
    steps = int(fleet.parent.saved().optimizer["optimizer_steps"])
    assert 6 <= steps < 3 * 18
