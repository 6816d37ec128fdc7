from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.base import Loss, Moment
from marl.algorithms.replayed import cut
from marl.data.layout import Leaf
from marl.data.replay.priorities import Priorities, priority_fields
from marl.data.replay.rollout import rollout_tree
from marl.data.replay.trajectory_replay import replay_fields
from marl.data.replay.transitions import Sampled, TransitionReplay, Transitions, transition_fields
from marl.data.settings import ReplaySettings
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.training.minibatches import Fresh, ReplayedTrajectories, ReplayedTransitions, ReplayRatioLimiter
from tests.algorithms.cases import DISCRETE, random_batch
from tests.data.writers import SIZE, trajectory, transitions
from tests.fake_algorithms import Lazy

NETWORK = nn.Module()
NOW = Moment(0.0, torch.Generator())
OBSERVATION, ACTION = Leaf((4,), torch.float32), Leaf((), torch.int64)


@dataclass(frozen=True)
class Whole(Lazy):
    """Learns from each trajectory once; gives the transitions of one priorities 1, 2, 3 and so on."""

    def transitions(self, network: nn.Module, trajectory: Trajectory) -> tuple[Transitions, Tensor]:
        transitions = cut(trajectory, discount=0.9, n=1)
        return transitions, 1.0 + torch.arange(len(transitions.returns))


def played(seed: int, T: int = 5, B: int = 2) -> Trajectory:
    """All of whose steps are transitions, and whose version is the seed."""
    batch = random_batch(DISCRETE, seed, T=T, B=B)
    return batch._replace(valid=torch.ones(T, B, dtype=torch.bool), version=seed)


def transition_block(capacity: int, workers: int = 1) -> SharedBlock:
    fields = transition_fields(capacity=capacity, workers=workers, observation=OBSERVATION, action=ACTION)
    return SharedBlock(fields | priority_fields(capacity))


def minibatches_of(
    block: SharedBlock, ratio: float = 1.0, worker: int = 0, seed: int = 0, **settings: Any
) -> ReplayedTransitions:
    rng = np.random.default_rng(seed)
    return ReplayedTransitions(Whole(), NETWORK, block, worker, ReplaySettings(**settings), ratio=ratio, rng=rng)


def loss_of(batch: Sampled, priority: float) -> Loss:
    return Loss(torch.zeros(()), {}, torch.full((len(batch.weights),), priority))


def test_fresh_trajectories_are_learned_from_as_the_algorithm_says() -> None:
    trajectory = played(0)
    assert list(Fresh(Whole(), NETWORK).batches(trajectory, NOW)) == [trajectory]


@pytest.mark.parametrize("ratio", [0.25, 1.0, 2.5, 7.3])
def test_over_many_trajectories_each_step_is_learned_from_so_often(ratio: float) -> None:
    limiter, played_steps, learned_steps = ReplayRatioLimiter(ratio), 0, 0
    rng = np.random.default_rng(0)
    for _ in range(500):
        steps = int(rng.integers(0, 40))
        limiter.played(steps)
        played_steps += steps
        while limiter.pay(16):
            learned_steps += 16
        assert -1e-6 < ratio * played_steps - learned_steps < 16 + 1e-6
    limiter.forgive()
    assert not limiter.pay(1e-9)


@pytest.mark.parametrize("ratio", [0.5, 3.0])
def test_the_ratio_is_kept_by_the_samples(ratio: float) -> None:
    minibatches = minibatches_of(transition_block(1000), ratio, start=0, batch_size=8)
    counts = [sum(len(batch.weights) for batch in minibatches.batches(played(seed), NOW)) for seed in range(60)]
    assert sum(counts) == pytest.approx(ratio * 60 * 10, abs=10)
    assert max(counts) <= ratio * 10 + 8


def test_no_samples_before_the_start_and_none_made_up_for_later() -> None:
    minibatches = minibatches_of(transition_block(1000), start=35, batch_size=5)
    counts = [len(list(minibatches.batches(played(seed), NOW))) for seed in range(6)]
    assert counts == [0, 0, 0, 2, 2, 2]  # 10 steps a trajectory


def test_no_sample_larger_than_what_there_is() -> None:
    minibatches = minibatches_of(transition_block(1000), ratio=2.5, start=0, batch_size=25)
    assert [len(list(minibatches.batches(played(seed), NOW))) for seed in range(3)] == [0, 0, 1]


def test_samples_are_rows_of_what_was_played() -> None:
    minibatches = minibatches_of(transition_block(1000), ratio=4.0, start=0, batch_size=20)
    expected = [cut(played(seed), discount=0.9, n=1) for seed in range(3)]
    rows = {tuple(row.tolist()) for each in expected for row in each.observations}
    sampled = [batch for seed in range(3) for batch in minibatches.batches(played(seed), NOW)]
    assert sampled
    for batch in sampled:
        assert {tuple(row.tolist()) for row in batch.transitions.observations} <= rows
        assert 0 < batch.weights.min() <= batch.weights.max() == 1.0
        assert isinstance(batch.generator, torch.Generator)


def test_first_priorities_are_the_actors_and_later_ones_the_learners() -> None:
    block = transition_block(10)
    minibatches = minibatches_of(block, start=0, batch_size=5, alpha=1.0)
    samples = minibatches.batches(played(0), NOW)
    priorities = Priorities(block, 1.0)
    assert priorities.total() == pytest.approx(sum(range(1, 11)))
    batch = next(samples)
    minibatches.learned(loss_of(batch, 100.0))
    drawn = {tuple(row.tolist()) for row in batch.transitions.observations}
    places = TransitionReplay(block).gather(np.arange(10))[0].observations
    expected = [100.0 if tuple(row.tolist()) in drawn else 1.0 + n for n, row in enumerate(places)]
    assert priorities.total() == pytest.approx(sum(expected))
    minibatches.learned(Loss(torch.zeros(()), {}))  # nothing to note
    assert priorities.total() == pytest.approx(sum(expected))


def test_what_was_overwritten_meanwhile_counts_for_nothing_and_keeps_its_priority() -> None:
    block = transition_block(10)
    minibatches = minibatches_of(block, start=0, batch_size=10, alpha=0.0)
    samples = minibatches.batches(played(0), NOW)
    block["transitions_counts"][0, 0] += 4  # a writer has begun with the oldest 4
    batch = next(samples)
    broken = [tuple(row.tolist()) in first_rows(4) for row in batch.transitions.observations]
    assert any(broken)
    assert [weight == 0 for weight in batch.weights.tolist()] == broken
    minibatches.learned(loss_of(batch, 0.0))
    left = np.flatnonzero(Priorities(block, 1.0)._leaves)
    assert set(range(4)) <= set(left.tolist())


def first_rows(count: int) -> set[tuple[float, ...]]:
    return {tuple(row.tolist()) for row in cut(played(0), discount=0.9, n=1).observations[:count]}


def test_workers_learn_from_each_others_steps() -> None:
    block = transition_block(100, workers=2)
    one, two = (minibatches_of(block, ratio=5.0, worker=worker, start=0, batch_size=10) for worker in range(2))
    assert list(one.batches(played(1), NOW))
    versions = torch.cat([batch.transitions.versions for batch in two.batches(played(2), NOW)])
    assert set(versions.tolist()) == {1, 2}


def saved(minibatches: ReplayedTrajectories, seeds: range) -> Iterator[list[Trajectory]]:
    for seed in seeds:
        # A sample is overwritten by the next: only its number is kept.
        yield [batch.version for batch in minibatches.batches(played(seed), NOW)]


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_whole_trajectories_are_drawn_from_those_that_were_saved(ratio: float) -> None:
    rollout = rollout_tree(
        length=5,
        environments=2,
        observation=OBSERVATION,
        action=ACTION,
        num_parameters=0,
        priorities=False,
    )
    fields = replay_fields(rollout, workers=1, slots=3)
    rng = np.random.default_rng(0)
    minibatches = ReplayedTrajectories(Whole(), NETWORK, SharedBlock(fields), 0, ratio=ratio, rng=rng)
    versions = list(saved(minibatches, range(40)))
    assert sum(map(len, versions)) == pytest.approx(40 * ratio, abs=1)
    for seed, drawn in enumerate(versions):
        assert set(drawn) <= set(range(max(0, seed - 2), seed + 1))  # the last 3
    assert any(version != seed for seed, drawn in enumerate(versions) for version in drawn)


@pytest.mark.parametrize(
    ("given", "drawn"),
    [([0.0, 0.0, 5.0, 0.0], {2}), ([0.0, 0.0, 5.0], {0, 1, 2, 3}), ([], {0, 1, 2, 3})],
    ids=["fitting", "one too few", "none"],
)
def test_priorities_from_elsewhere_decide_where_they_fit(given: list[float], drawn: set[int]) -> None:
    """A child that says more or fewer than there are transitions must not end the learner."""
    observation = Leaf((SIZE,), torch.float32)
    fields = transition_fields(capacity=64, workers=1, observation=observation, action=ACTION)
    minibatches = ReplayedTransitions(
        FirstFour(),
        NETWORK,
        SharedBlock({**fields, **priority_fields(64)}),
        0,
        ReplaySettings(start=1, batch_size=4, alpha=1.0),
        ratio=20.0,
        rng=np.random.default_rng(0),
        priorities=lambda: torch.tensor(given),
    )
    found = set[int]()
    for batch in minibatches.batches(trajectory(0), NOW):
        found |= set(batch.transitions.versions[batch.weights > 0].tolist())
        minibatches.learned(Loss(torch.zeros(()), {}))
    assert found == drawn


class FirstFour(Lazy):
    """Transitions of a trajectory are the first four numbers, all equally worth learning."""

    def transitions(self, network: nn.Module, trajectory: Trajectory) -> tuple[Transitions, Tensor]:
        return transitions(range(4)), torch.ones(4)
