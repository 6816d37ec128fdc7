"""PPO's loss written as its formula, in float64."""

import torch
from torch import Tensor

from marl.algorithms.base import Moment
from marl.algorithms.ppo import PPO
from marl.algorithms.ppo_minibatch import Minibatch
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from tests.algorithms.cases import random_batch

NOW = Moment(0.0, torch.Generator().manual_seed(0))


def network_for(spaces: Spaces, seed: int = 0) -> ActorCritic:
    network = ActorCritic(spaces, NetworkSettings(hidden=(8,), log_std=-0.3), seed)
    with torch.no_grad():
        for parameter in network.parameters():  # away from the start, where the policy is nearly uniform
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return network


def played(spaces: Spaces, seed: int, network: ActorCritic, *shape: int) -> Trajectory:
    """A trajectory that the network itself has acted in."""
    batch = random_batch(spaces, seed, *shape)
    with torch.no_grad():
        return batch._replace(behaviour=network.policy(batch.observations[:-1]))


def torch_distribution(parameters: Tensor, discrete: bool) -> torch.distributions.Distribution:
    if discrete:
        return torch.distributions.Categorical(logits=parameters)
    mean, log_std = parameters.chunk(2, -1)
    return torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)


def literal_loss(
    network: ActorCritic, batch: Minibatch, discrete: bool, value_clip: float, normalize: bool
) -> tuple[Tensor, Tensor]:
    """The paper's equations 7 and 9, one transition at a time: total and surrogate."""
    advantages = batch.advantages
    if normalize:
        advantages = (advantages - advantages.mean()) / advantages.std(unbiased=False)
    total, surrogate = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for n in range(len(advantages)):
        distribution = torch_distribution(network.policy(batch.observations[n]), discrete)
        ratio = (distribution.log_prob(batch.actions[n]) - batch.log_probs[n]).exp()
        clipped = ratio.clamp(1 - batch.clip, 1 + batch.clip)
        policy_loss = -torch.minimum(ratio * advantages[n], clipped * advantages[n])
        value = network.values(batch.observations[n])
        error = (value - batch.targets[n]) ** 2
        if value_clip:
            near = batch.values[n] + (value - batch.values[n]).clamp(-value_clip, value_clip)
            error = torch.maximum(error, (near - batch.targets[n]) ** 2)
        surrogate = surrogate + policy_loss / len(advantages)
        total = total + (policy_loss + 0.7 * error - 0.05 * distribution.entropy()) / len(advantages)
    return total, surrogate


def shown(spaces: Spaces, seed: int, shape: tuple[int, int], clip: float) -> tuple[ActorCritic, Minibatch]:
    """A network in float64, and transitions of another policy's to learn from."""
    old, network = network_for(spaces, seed), network_for(spaces, seed + 10)
    trajectory = played(spaces, seed, old, *shape)
    trajectory = trajectory._replace(valid=torch.ones_like(trajectory.valid))
    minibatch = next(PPO(num_minibatches=1, clip=clip).minibatches(old, trajectory, NOW))
    tensors = [each.double() if each.is_floating_point() else each for each in minibatch[:6]]
    return network.double(), Minibatch._make([*tensors, *minibatch[6:]])
