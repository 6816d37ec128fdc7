import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from marl.algorithms.sac import SAC
from marl.data.replay.transitions import Sampled, Transitions
from marl.errors import ConfigError
from marl.networks.sac_network import SACNetwork
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.algorithms.cases import BOX, random_batch


def network_for(seed: int = 0) -> SACNetwork:
    """With copies of other weights."""
    network = SACNetwork(BOX, NetworkSettings(hidden=(8,)), seed, temperature=0.3)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return network


def sampled(seed: int = 0, count: int = 11) -> Sampled:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(2, count, generator=generator)
    transitions = Transitions(
        observations=torch.randn(count, 4, generator=generator),
        actions=torch.rand(count, 2, generator=generator) * 2 - 1,
        returns=torch.randn(count, generator=generator),
        discounts=0.9 * (draw[0] > 0.3),
        next_observations=torch.randn(count, 4, generator=generator),
        versions=torch.zeros(count, dtype=torch.long),
    )
    return Sampled(transitions, draw[1], torch.Generator().manual_seed(seed + 100))


def literal_critics(tensors: dict[str, Tensor], observation: Tensor, action: Tensor) -> list[Tensor]:
    values = []
    for twin in range(2):
        hidden = torch.cat([observation, action])
        hidden = torch.tanh(hidden @ tensors["weight0"][twin] + tensors["bias0"][twin, 0])
        values.append((hidden @ tensors["weight1"][twin] + tensors["bias1"][twin, 0])[0])
    return values


def literal_policy(actor: dict[str, Tensor], observation: Tensor) -> tuple[Tensor, Tensor, TransformedDistribution]:
    hidden = torch.tanh(actor["hidden.0.weight"] @ observation + actor["hidden.0.bias"])
    outputs = actor["head.weight"] @ hidden + actor["head.bias"]
    mean, deviation = outputs[:2], outputs[2:].clamp(-5, 2).exp()
    return mean, deviation, TransformedDistribution(Independent(Normal(mean, deviation), 1), [TanhTransform()])


def literal_losses(
    critics: dict[str, Tensor], past: dict[str, Tensor], actor: dict[str, Tensor], log_temperature: Tensor,
    batch: Sampled, noises: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """One transition at a time; ``noises`` [2, N, A] are those of the next and of the present action."""
    value_loss = policy_loss = temperature_loss = torch.zeros((), dtype=torch.float64)
    observations, actions, returns, discounts, following, _ = batch.transitions
    count, temperature = len(returns), log_temperature.detach().exp()
    for n in range(count):
        weight = batch.weights[n].item() / count
        mean, deviation, policy = literal_policy(actor, following[n].double())
        next_action = torch.tanh(mean + deviation * noises[0, n])
        lesser = min(literal_critics(past, following[n].double(), next_action))
        worth = lesser - temperature * policy.log_prob(next_action)
        target = (returns[n] + discounts[n] * worth).detach()
        for value in literal_critics(critics, observations[n].double(), actions[n].double()):
            value_loss = value_loss + 0.5 * weight * (value - target) ** 2

        mean, deviation, policy = literal_policy(actor, observations[n].double())
        own = torch.tanh(mean + deviation * noises[1, n])
        log_prob = policy.log_prob(own)
        fixed = {name: each.detach() for name, each in critics.items()}
        policy_loss = policy_loss + weight * (
            temperature * log_prob - min(literal_critics(fixed, observations[n].double(), own))
        )
        temperature_loss = temperature_loss - weight * log_temperature * (log_prob.detach() - 2.0)
    return {"value": value_loss, "policy": policy_loss, "temperature": temperature_loss}


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_the_written_formulas(seed: int) -> None:
    network, batch = network_for(seed), sampled(seed)
    wide = {name: each.detach().double() for name, each in network.state_dict().items()}
    part = {
        key: {name.removeprefix(f"{key}."): each for name, each in wide.items() if name.startswith(f"{key}.")}
        for key in ("critics", "past", "actor")
    }
    log_temperature = wide["temperature.log"].requires_grad_()
    learned = [*part["critics"].values(), *part["actor"].values()]
    for each in learned:
        each.requires_grad_()
    dice = torch.Generator().manual_seed(seed + 100)
    noises = torch.stack([network.distribution.noise((11,), dice).double() for _ in range(2)])
    sum(literal_losses(*part.values(), log_temperature, batch, noises).values()).backward()

    SAC().loss(network, batch).total.backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad.double(), wide[name].grad, rtol=1e-3, atol=1e-5, msg=name)
    assert all(buffer.grad is None for buffer in network.buffers())


def gradients(network: SACNetwork, batch: Sampled, algorithm: SAC | None = None) -> dict[str, Tensor]:
    network.zero_grad()
    dice = torch.Generator().manual_seed(5)
    (algorithm or SAC()).loss(network, batch._replace(generator=dice)).total.backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def test_each_part_has_a_gradient_of_its_own() -> None:
    """Other rewards move the critics alone, another goal for the entropy the temperature alone."""
    network, batch = network_for(), sampled()
    before = gradients(network, batch)
    richer = batch._replace(transitions=batch.transitions._replace(returns=batch.transitions.returns + 5.0))
    surer = SAC(target_entropy=-7.0)
    assert changed(before, gradients(network, richer)) == {"critics"}
    assert changed(before, gradients(network, batch, surer)) == {"temperature"}


def changed(one: dict[str, Tensor], two: dict[str, Tensor]) -> set[str]:
    return {name.split(".")[0] for name in one if not torch.equal(one[name], two[name])}


def test_each_weight_belongs_to_its_own_transition() -> None:
    network, batch = network_for(), sampled(count=4)
    together = gradients(network, batch)
    alone = [gradients(network, batch._replace(weights=batch.weights * (torch.arange(4) == n))) for n in range(4)]
    for name, expected in together.items():
        torch.testing.assert_close(sum(each[name] for each in alone), expected, rtol=1e-4, atol=1e-6)


def test_the_targets_follow_slowly_and_nothing_else_moves() -> None:
    network = network_for()
    flat = flatten(network)
    count = flat.gradient.numel()
    before = flat.weights.clone()
    SAC(target_rate=0.25).settle(flat.weights, count, 1)
    assert torch.equal(flat.weights[:count], before[:count])
    followed = before[: len(before) - count]
    torch.testing.assert_close(flat.weights[count:], 0.75 * before[count:] + 0.25 * followed)
    SAC(target_rate=1.0).settle(flat.weights, count, 2)
    observations, actions = torch.randn(5, 4), torch.randn(5, 2)
    torch.testing.assert_close(network.target(observations, actions), network.values(observations, actions))


def test_priorities_are_mean_errors_of_both_critics() -> None:
    """Without bootstrap nothing is drawn: the actor and the learner say the same."""
    network, algorithm = network_for(), SAC(discount=0.0)
    trajectory = random_batch(BOX, 3)
    transitions, priorities = algorithm.transitions(network, trajectory._replace(actions=trajectory.actions.tanh()))
    values = network.values(transitions.observations, transitions.actions)
    torch.testing.assert_close(priorities, (values - transitions.returns).abs().mean(0), rtol=1e-4, atol=1e-5)
    loss = algorithm.loss(network, Sampled(transitions, torch.ones(len(priorities))))
    torch.testing.assert_close(loss.priorities, priorities)


def test_too_random_a_policy_cools() -> None:
    network, batch = network_for(), sampled()
    entropy = SAC().loss(network, batch).metrics["entropy"].item()
    for target, sign in ((entropy - 5.0, 1), (entropy + 5.0, -1)):
        assert math.copysign(1, gradients(network, batch, SAC(target_entropy=target))["temperature.log"]) == sign


@pytest.mark.parametrize(
    ("key", "value"), [("n_step", 0), ("target_rate", 0.0), ("target_rate", 2.0), ("temperature", 0.0)]
)
def test_numbers_that_cannot_work(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.{key}"):
        replace(SAC(), **{key: value}).validate()
