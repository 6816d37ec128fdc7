import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.algorithms.a3c import A3C, a3c_loss
from marl.algorithms.base import Moment
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from tests.algorithms.cases import BOX, DISCRETE, random_batch


def literal_loss(
    network: ActorCritic,
    batch: Trajectory,
    *,
    discount: float,
    gae_lambda: float,
    value_cost: float,
    entropy_cost: float,
    normalize_advantages: bool,
) -> dict[str, Tensor]:
    """Step by step and environment by environment, with torch's own distributions, in the network's precision."""
    T, B = batch.rewards.shape
    observations = batch.observations.double()
    values = [[network.values(observations[t, b]) for b in range(B)] for t in range(T + 1)]
    true_last = dict(zip(batch.last_index.tolist(), batch.last_observations.double(), strict=True))
    policy_terms, value_terms, entropies, advantages = [], [], [], []
    for b in range(B):
        following_advantage = 0.0
        for t in reversed(range(T)):
            following = values[t + 1][b].item()
            if t * B + b in true_last:
                following = network.values(true_last[t * B + b]).item()
            if batch.terminated[t, b]:
                following = 0.0
            advantage = batch.rewards[t, b].item() + discount * following - values[t][b].item()
            if not (batch.terminated[t, b] or batch.truncated[t, b]):
                advantage += discount * gae_lambda * following_advantage
            following_advantage = advantage
            if not batch.valid[t, b]:
                continue
            parameters = network.policy(observations[t, b])
            if batch.actions.ndim == 2:
                distribution = torch.distributions.Categorical(logits=parameters)
            else:
                distribution = torch.distributions.Independent(
                    torch.distributions.Normal(parameters[:2], parameters[2:].exp()), 1
                )
            action = batch.actions[t, b] if batch.actions.ndim == 2 else batch.actions[t, b].double()
            policy_terms.append(distribution.log_prob(action))
            entropies.append(distribution.entropy())
            advantages.append(advantage)
            value_terms.append((advantage + values[t][b].item() - values[t][b]) ** 2)
    scaled = np.array(advantages)
    if normalize_advantages:
        scaled = (scaled - scaled.mean()) / scaled.std()
    policy_loss = -(torch.stack(policy_terms) * torch.from_numpy(scaled)).mean()
    value_loss, entropy = torch.stack(value_terms).mean(), torch.stack(entropies).mean()
    total = policy_loss + value_cost * value_loss - entropy_cost * entropy
    return {"total": total, "policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_loss_and_gradient_are_the_written_formula(spaces: Spaces, shared: bool, normalize: bool, seed: int) -> None:
    batch = random_batch(spaces, seed)
    network = ActorCritic(spaces, NetworkSettings(hidden=(8,), shared_trunk=shared, log_std=-0.3), seed)
    with torch.no_grad():
        for parameter in network.parameters():  # away from the start, where the policy is nearly uniform
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    literal = copy.deepcopy(network).double()
    settings = {
        "discount": 0.9,
        "gae_lambda": 0.8,
        "value_cost": 0.7,
        "entropy_cost": 0.05,
        "normalize_advantages": normalize,
    }

    ours = a3c_loss(network, batch, **settings)
    ours.total.backward()
    expected = literal_loss(literal, batch, **settings)
    expected["total"].backward()

    assert ours.total.item() == pytest.approx(expected["total"].item(), rel=1e-4, abs=1e-5)
    assert set(ours.metrics) == {"policy_loss", "value_loss", "entropy"}
    for name, value in ours.metrics.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-4, abs=1e-5), name
        assert not value.requires_grad
    for (name, mine), theirs in zip(network.named_parameters(), literal.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_reset_steps_teach_nothing() -> None:
    batch = random_batch(DISCRETE, 3)
    network = ActorCritic(DISCRETE, NetworkSettings(hidden=(8,)), 0)
    none = batch._replace(valid=torch.zeros_like(batch.valid))
    loss = A3C().loss(network, none)
    loss.total.backward()
    assert loss.total.item() == 0
    assert not any(parameter.grad.any() for parameter in network.parameters())


def test_what_follows_a_reset_step_changes_nothing_before() -> None:
    """Actions and rewards of steps that are no transitions may be anything."""
    batch = random_batch(DISCRETE, 4)
    ended = batch.terminated | batch.truncated
    valid = torch.ones_like(ended)
    valid[1:] = ~ended[:-1]
    batch = batch._replace(valid=valid, terminated=batch.terminated & valid, truncated=batch.truncated & valid)
    batch = batch._replace(last_index=torch.zeros(0, dtype=torch.long), last_observations=torch.zeros(0, 4))
    ended = batch.terminated | batch.truncated
    valid = torch.ones_like(ended)
    valid[1:] = ~ended[:-1]
    batch = batch._replace(valid=valid)
    network = ActorCritic(DISCRETE, NetworkSettings(hidden=(8,)), 0)
    changed = batch._replace(
        actions=torch.where(valid, batch.actions, 2 - batch.actions), rewards=batch.rewards + 1e3 * ~valid
    )
    assert (~valid).any()
    assert A3C().loss(network, batch).total.item() == A3C().loss(network, changed).total.item()


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("constant", [2, 2, 2, 2]), ("linear", [2, 1.75, 1.5, 1]), ("cosine", [2, 1.8535534, 1.5, 1])],
)
def test_schedules_by_hand(schedule: str, rates: list[float]) -> None:
    algorithm = A3C(learning_rate=2.0, final_learning_rate=1.0, schedule=schedule)
    assert [algorithm.learning_rate_at(progress) for progress in (0, 0.25, 0.5, 1)] == pytest.approx(rates)
    assert [algorithm.learning_rate_at(progress) for progress in (-1, 2)] == pytest.approx([rates[0], rates[-1]])


def test_a_trajectory_is_used_once_whole() -> None:
    batch = random_batch(DISCRETE, 0)
    network = ActorCritic(DISCRETE, NetworkSettings(hidden=(8,)), 0)
    (used,) = A3C().minibatches(network, batch, Moment(0.0, torch.Generator()))
    assert used is batch
