import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.algorithms.base import Moment
from marl.algorithms.ppo import PPO, divergence
from marl.algorithms.ppo_loss import ppo_loss
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.networks.actor_critic import ActorCritic
from marl.networks.build_network import actor_critic
from marl.networks.contract import StatelessCritic
from marl.networks.settings import NetworkSettings
from tests.algorithms.cases import BOX, DISCRETE, random_batch
from tests.algorithms.literal_ppo import NOW, network_for, played, torch_distribution
from tests.targets.cases import literal_lambda_return
from tests.targets.test_gae import literal_gae
from tests.targets.test_upgo import literal_upgo
from tests.targets.test_vtrace import literal_vtrace


@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_an_epoch_shows_every_transition_once(spaces: Spaces) -> None:
    network = network_for(spaces)
    trajectory = played(spaces, 2, network)
    algorithm = PPO(epochs=2, num_minibatches=4)
    batches = list(algorithm.minibatches(network, trajectory, NOW))
    valid = trajectory.observations[:-1][trajectory.valid]
    assert len(batches) == 8
    for epoch in (batches[:4], batches[4:]):
        shown = torch.cat([batch.observations for batch in epoch])
        assert sorted(shown[:, 0].tolist()) == sorted(valid[:, 0].tolist())
    assert batches[0].observations[:, 0].tolist() != batches[4].observations[:, 0].tolist()  # shuffled anew


def test_the_first_look_is_on_policy() -> None:
    """Before any step the ratio is 1 everywhere: nothing is clipped, no divergence."""
    network = network_for(DISCRETE)
    batch = next(PPO().minibatches(network, played(DISCRETE, 3, network), NOW))
    loss = ppo_loss(network, batch, value_cost=0.5)
    assert loss.metrics["kl"].item() == pytest.approx(0, abs=1e-6)
    assert loss.metrics["clipped"].item() == 0


@pytest.mark.parametrize("target", ["td_lambda", "vtrace"])
def test_targets_agree_on_policy(target: str) -> None:
    """GAE's advantage plus the value is TD(lambda), which V-trace gives where the policy has not moved."""
    network = network_for(BOX)
    trajectory = played(BOX, 4, network)._replace(
        terminated=torch.zeros(7, 3, dtype=torch.bool), truncated=torch.zeros(7, 3, dtype=torch.bool)
    )
    trajectory = trajectory._replace(last_index=torch.zeros(0, dtype=torch.long), last_observations=torch.zeros(0, 4))
    one = PPO(num_minibatches=1)
    expected = next(one.minibatches(network, trajectory, NOW))
    other = next(replace(one, target=target).minibatches(network, trajectory, NOW))
    torch.testing.assert_close(other.targets, expected.targets, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("target", ["auto", "gae", "td_lambda", "vtrace"])
@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_what_is_learned_follows_the_definitions(spaces: Spaces, target: str, seed: int) -> None:
    """With ends of every kind, and play of another policy."""
    network, batch = network_for(spaces, seed), played(spaces, seed, network_for(spaces, seed + 10))
    algorithm = PPO(num_minibatches=1, target=target, discount=0.9, gae_lambda=0.8, upgo_cost=0.5)
    minibatch = next(algorithm.minibatches(network, batch, NOW))

    with torch.no_grad():
        values = network.values(batch.observations).double().numpy()
        following = values[1:].copy()
        following.reshape(-1)[batch.last_index.numpy()] = network.values(batch.last_observations).numpy()
        now = torch_distribution(network.policy(batch.observations[:-1]), spaces.discrete)
        then = torch_distribution(batch.behaviour, spaces.discrete)
        ratios = (now.log_prob(batch.actions) - then.log_prob(batch.actions)).exp().double().numpy()
    values = values[:-1]
    rewards, ends = batch.rewards.double().numpy(), (batch.terminated.numpy(), batch.truncated.numpy())
    if target == "vtrace":
        targets, weighted = literal_vtrace(ratios, rewards, values, following, *ends, 0.9, 0.8, 1.0, 1.0, 1.0)
        advantages = weighted / np.minimum(1.0, ratios)
    elif target == "td_lambda":
        targets = literal_lambda_return(rewards, following, *ends, 0.9, np.full_like(rewards, 0.8))
        advantages = targets - values
    else:
        advantages = literal_gae(rewards, values, following, *ends, 0.9, 0.8)
        targets = advantages + values
    advantages = advantages + 0.5 * (literal_upgo(rewards, values, following, *ends, 0.9) - values)

    valid = batch.valid.numpy()
    np.testing.assert_allclose(minibatch.targets.numpy(), targets[valid], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(minibatch.advantages.numpy(), advantages[valid], rtol=1e-3, atol=1e-4)


def test_a_target_that_was_asked_for_is_kept_off_policy() -> None:
    assert PPO().off_policy() == PPO(target="vtrace")
    assert PPO(target="gae").off_policy() == PPO(target="gae")


def test_what_is_a_round_old_is_learned_from_as_its_own() -> None:
    assert PPO().nearly_on_policy() == PPO(target="gae")
    assert PPO(target="td_lambda").nearly_on_policy() == PPO(target="td_lambda")


def test_a_trajectory_of_reset_steps_teaches_nothing() -> None:
    network = network_for(DISCRETE)
    trajectory = played(DISCRETE, 8, network)
    nothing = trajectory._replace(valid=torch.zeros_like(trajectory.valid))
    assert list(PPO().minibatches(network, nothing, NOW)) == []


def test_upgo_adds_to_the_advantage() -> None:
    network = network_for(DISCRETE)
    trajectory = played(DISCRETE, 5, network)
    plain = next(PPO(num_minibatches=1).minibatches(network, trajectory, NOW))
    with_upgo = next(PPO(num_minibatches=1, upgo_cost=0.5).minibatches(network, trajectory, NOW))
    assert not torch.equal(plain.advantages, with_upgo.advantages)
    assert torch.equal(plain.targets, with_upgo.targets)


def test_a_policy_that_has_moved_too_far_ends_the_epochs() -> None:
    network, moved = network_for(DISCRETE), network_for(DISCRETE, 7)
    minibatch = PPO(epochs=3, num_minibatches=1, kl_stop=0.01).minibatches(network, played(DISCRETE, 6, network), NOW)
    first = next(minibatch)
    network.load_state_dict(moved.state_dict())
    assert divergence(network, first) > 0.01
    assert list(minibatch) == []


def test_the_clip_follows_its_schedule() -> None:
    network = network_for(DISCRETE)
    algorithm = PPO(clip=0.2, clip_schedule="linear")
    halfway = next(algorithm.minibatches(network, played(DISCRETE, 7, network), Moment(0.5, torch.Generator())))
    assert halfway.clip == pytest.approx(0.1)


@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_the_entropy_cost_follows_its_schedule(spaces: Spaces) -> None:
    network = network_for(spaces)
    algorithm = PPO(entropy_cost=0.2, entropy_schedule="linear")
    halfway = next(algorithm.minibatches(network, played(spaces, 7, network), Moment(0.5, torch.Generator())))
    expected = ppo_loss(network, halfway, value_cost=0.5, entropy_cost=0.1).total
    torch.testing.assert_close(algorithm.loss(network, halfway).total, expected)
    assert halfway.entropy_cost == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 0), ("num_minibatches", 0), ("clip", 0.0), ("gae_lambda", 2.0), ("target", "montecarlo"),
     ("sequence", -1), ("value_clip", -1.0), ("kl_stop", -1.0), ("clip_schedule", "steps"),
     ("entropy_schedule", "steps")],
)  # fmt: skip
def test_numbers_that_cannot_work(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.{key}"):
        replace(PPO(), **{key: value}).validate()


@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_a_minibatch_of_one_teaches_something(spaces: Spaces) -> None:
    """Less its own mean, the advantage of one alone is 0: the policy would never move."""
    network = network_for(spaces)
    trajectory = played(spaces, 5, network)
    batches = list(PPO(epochs=1, num_minibatches=1000).minibatches(network, trajectory, NOW))
    assert {len(batch.actions) for batch in batches} == {1}
    for batch in batches:
        network.zero_grad()
        ppo_loss(network, batch, value_cost=0.0).total.backward()
        assert max(float(each.grad.abs().max()) for each in network.actor.parameters()) > 0


def count_passes(network: ActorCritic) -> list[int]:
    passes = []

    def counted(inputs: Tensor) -> Tensor:
        passes.append(len(inputs))
        return network.actor.forward(inputs)

    shared, *_ = network._listed
    network._listed = shared, counted, counted
    return passes


@pytest.mark.parametrize("target", ["gae", "vtrace"])
@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_a_shared_trunk_is_passed_once_a_minibatch(spaces: Spaces, target: str) -> None:
    """With the gradient of two passes, one for the policy and one for the values."""
    network = ActorCritic(spaces, NetworkSettings(hidden=(8,), shared_trunk=True), 1)
    trajectory = played(spaces, 6, network)
    algorithm = PPO(epochs=1, num_minibatches=1, target=target)
    passes = count_passes(network)
    batch = next(algorithm.minibatches(network, trajectory, NOW))
    assert len(passes) == 2  # all observations, and the last ones of episodes that were cut
    passes.clear()
    algorithm.loss(network, batch).total.backward()
    assert len(passes) == 1

    once = [each.grad.clone() for each in network.parameters()]
    network.zero_grad()
    apart = copy.copy(network)
    apart.unroll = lambda *arguments: StatelessCritic.unroll(network, *arguments)
    passes.clear()
    algorithm.loss(apart, batch).total.backward()
    assert len(passes) == 2
    for mine, theirs in zip(once, network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad)


@pytest.mark.parametrize("sequence", [0, 3, 7], ids=["whole trajectories", "sequences", "as long as they"])
@pytest.mark.parametrize("environments", [1, 2, 3, 5, 8])
def test_it_says_how_many_minibatches_sequences_make(environments: int, sequence: int) -> None:
    algorithm = PPO(t_max=7, epochs=1, num_minibatches=4, sequence=sequence)
    network = actor_critic(DISCRETE, NetworkSettings(hidden=(8,), core="gru", core_size=4), 0)
    behaviour, state = torch.zeros(7, environments, 3), network.initial_state(environments)
    trajectory = random_batch(DISCRETE, 1, 7, environments)._replace(behaviour=behaviour, state=state)
    number = len(list(algorithm.minibatches(network, trajectory, NOW)))
    assert algorithm.batches_from(network, environments) == number
    remark = algorithm.remark(network, environments)
    assert (remark is None) == (number == 4)
    assert remark is None or f"an epoch has {number} minibatches, not algorithm.num_minibatches = 4" in remark
    assert algorithm.remark(network_for(DISCRETE), environments) is None  # single transitions are enough
    assert algorithm.batches_from(network_for(DISCRETE), environments) == 4
