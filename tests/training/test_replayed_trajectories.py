"""Trajectories that name their number, so that it shows what is learned from, and how often."""

from collections import Counter

import numpy as np
import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm, Moment
from marl.algorithms.impala import IMPALA
from marl.algorithms.ppo import PPO
from marl.data.layout import Leaf
from marl.data.replay.rollout import rollout_tree
from marl.data.replay.trajectory_replay import TrajectoryReplay, replay_fields
from marl.data.shared import SharedBlock
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from marl.training.minibatches import ReplayedTrajectories
from tests.algorithms.cases import DISCRETE, random_batch
from tests.data.writers import PER_WORKER, number_of, replay_block, trajectory

NETWORK = ActorCritic(DISCRETE, NetworkSettings(hidden=(8,)), 0)
NOW = Moment(0.0, torch.Generator())


def minibatches_of(
    block: SharedBlock, worker: int, ratio: float, algorithm: Algorithm | None = None
) -> ReplayedTrajectories:
    """What a worker learns from."""
    rng = np.random.default_rng(worker)
    return ReplayedTrajectories(algorithm or IMPALA(), NETWORK, block, worker, ratio=ratio, rng=rng)


def learn(minibatches: ReplayedTrajectories, number: int) -> list[int]:
    """Play a trajectory; the numbers of those that were learned from then, each whole."""
    return [number_of(each) for each in minibatches.batches(trajectory(number), NOW)]


def test_each_trajectory_is_saved_before_anything_is_learned() -> None:
    block = replay_block(workers=1, slots=4)
    minibatches, reader = minibatches_of(block, 0, ratio=1), TrajectoryReplay(block)
    assert learn(minibatches, 0) == [0]  # there is no other yet
    for number in range(1, 4):
        (learned,) = learn(minibatches, number)
        assert learned <= number
        assert len(reader) == number + 1
    learn(minibatches, 4)
    assert len(reader) == 4
    versions = {reader.sample(np.random.default_rng(seed)).version for seed in range(100)}  # type: ignore[union-attr]
    assert versions == {1, 2, 3, 4}


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 1.5, 4.0])
def test_the_ratio_is_kept_at_every_moment(ratio: float) -> None:
    minibatches = minibatches_of(replay_block(workers=1, slots=8), 0, ratio)
    samples = 0
    for played in range(1, 81):
        samples += len(learn(minibatches, played))
        assert samples == int(ratio * played)


def test_samples_come_from_the_rings_of_all_workers_alike() -> None:
    block = replay_block(workers=3, slots=5)
    workers = [minibatches_of(block, worker, ratio=1) for worker in range(3)]
    for number in range(20):
        for worker, minibatches in enumerate(workers):
            learn(minibatches, worker * PER_WORKER + number)
    replay = [worker * PER_WORKER + number for worker in range(3) for number in range(15, 20)]
    counts: Counter[int] = Counter()
    for _ in range(300):
        for worker, minibatches in enumerate(workers):
            counts.update(learn(minibatches, worker * PER_WORKER + 19))
    rings = Counter(dict.fromkeys(range(3), 0))
    for number, count in counts.items():
        assert number in replay
        rings[number // PER_WORKER] += count
    assert sum((count - 300) ** 2 / 300 for count in rings.values()) < 13.8  # chi square, 2 degrees, 0.1 %


def test_a_worker_that_starts_again_owes_nothing() -> None:
    block = replay_block(workers=1, slots=8)
    first = minibatches_of(block, 0, ratio=0.5)
    assert learn(first, 0) == []  # half a sample is due
    second = minibatches_of(block, 0, ratio=0.5)
    assert learn(second, 1) == []
    assert len(learn(second, 2)) == 1
    assert len(TrajectoryReplay(block)) == 3


def test_ppo_takes_its_epochs_from_each_sample() -> None:
    """With the present weights, and the probabilities of those that acted."""
    batch = random_batch(DISCRETE, 0)
    with torch.no_grad():
        batch = batch._replace(behaviour=2 * NETWORK.policy(batch.observations[:-1]))
    ppo = PPO(epochs=3, num_minibatches=1)
    minibatches = minibatches_of(_block_of(batch.rewards.shape), 0, ratio=2, algorithm=ppo)
    batches = list(minibatches.batches(batch, NOW))
    assert len(batches) == 2 * 3
    (expected, *_) = ppo.minibatches(NETWORK, batch, NOW)
    for each in batches:
        torch.testing.assert_close(each.log_probs, expected.log_probs)
        torch.testing.assert_close(each.values, expected.values)


def test_what_is_learned_from_is_what_was_played() -> None:
    """Behaviour and all: with no update between, the policy that acted is the one that learns."""
    a3c = A3C(entropy_cost=0.05)
    minibatches = minibatches_of(_block_of((7, 3)), 0, ratio=1, algorithm=a3c.off_policy())
    for seed in range(6):
        batch = random_batch(DISCRETE, seed)
        with torch.no_grad():
            batch = batch._replace(behaviour=NETWORK.policy(batch.observations[:-1]), version=seed)
        for sampled in minibatches.batches(batch, NOW):
            played = random_batch(DISCRETE, sampled.version)
            loss, expected = a3c.off_policy().loss(NETWORK, sampled), a3c.loss(NETWORK, played)
            torch.testing.assert_close(loss.total, expected.total, rtol=1e-4, atol=1e-5)
            assert loss.metrics["kl"].item() == pytest.approx(0, abs=1e-6)
            minibatches.learned(loss)


def _block_of(shape: tuple[int, ...]) -> SharedBlock:
    length, environments = shape
    rollout = rollout_tree(
        length=length,
        environments=environments,
        observation=Leaf((4,), torch.float32),
        action=Leaf((), torch.int64),
        num_parameters=3,
        priorities=False,
    )
    return SharedBlock(replay_fields(rollout, workers=1, slots=4))
