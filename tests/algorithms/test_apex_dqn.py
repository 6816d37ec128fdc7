import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from marl.algorithms.apex_dqn import ApexDQN
from marl.data.replay.transitions import Sampled, Transitions
from marl.errors import ConfigError
from marl.networks.q_network import QNetwork
from marl.networks.sampling import Rank
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from tests.algorithms.cases import DISCRETE, random_batch


def network_for(seed: int = 0, dueling: bool = True) -> QNetwork:
    """With a copy of other weights."""
    network = QNetwork(DISCRETE, NetworkSettings(hidden=(8,)), seed, dueling=dueling)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.add_(0.5 * torch.randn(tensor.shape, generator=generator))
    return network


def sampled(seed: int = 0, count: int = 11) -> Sampled:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(2, count, generator=generator)
    transitions = Transitions(
        observations=torch.randn(count, 4, generator=generator),
        actions=torch.randint(3, (count,), generator=generator),
        returns=2 * torch.randn(count, generator=generator),
        discounts=0.9 * (draw[0] > 0.3),
        next_observations=torch.randn(count, 4, generator=generator),
        versions=torch.zeros(count, dtype=torch.long),
    )
    return Sampled(transitions, draw[1])


def literal_values(tensors: dict[str, Tensor], observation: Tensor, dueling: bool) -> Tensor:
    hidden = torch.tanh(tensors["hidden.0.weight"] @ observation + tensors["hidden.0.bias"])
    outputs = tensors["head.weight"] @ hidden + tensors["head.bias"]
    if not dueling:
        return outputs
    value, advantages = outputs[0], outputs[1:]
    return value + advantages - advantages.mean()


def literal_loss(
    online: dict[str, Tensor], past: dict[str, Tensor], batch: Sampled, *, double: bool, dueling: bool, huber: float
) -> tuple[Tensor, list[float]]:
    """One transition at a time: the total, and each error."""
    total, errors = torch.zeros((), dtype=torch.float64), []
    observations, actions, returns, discounts, following, _ = batch.transitions
    for n in range(len(actions)):
        next_values = literal_values(past, following[n].double(), dueling).detach()
        chooses = literal_values(online, following[n].double(), dueling).detach() if double else next_values
        target = returns[n].item() + discounts[n].item() * next_values[int(chooses.argmax())].item()
        error = literal_values(online, observations[n].double(), dueling)[actions[n]] - target
        errors.append(error.item())
        quadratic = not huber or abs(error.item()) <= huber
        one = 0.5 * error**2 if quadratic else huber * (error.abs() - 0.5 * huber)
        total = total + batch.weights[n].item() * one / len(actions)
    return total, errors


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("huber", [0.0, 1.0])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
def test_gradient_is_the_written_formulas(dueling: bool, double: bool, huber: float, seed: int) -> None:
    network, batch = network_for(seed, dueling), sampled(seed)
    online = {name: each.detach().double().requires_grad_() for name, each in network.online.named_parameters()}
    past = {name: each.double() for name, each in network.past.named_buffers()}
    before = {name: each.clone() for name, each in network.named_buffers()}
    loss = ApexDQN(double=double, dueling=dueling, huber=huber).loss(network, batch)
    loss.total.backward()
    total, errors = literal_loss(online, past, batch, double=double, dueling=dueling, huber=huber)
    total.backward()

    assert max(map(abs, errors)) > 1.0 > min(map(abs, errors))  # both branches of the loss
    assert loss.priorities.tolist() == pytest.approx([abs(error) for error in errors], abs=1e-4)
    for name, parameter in network.online.named_parameters():
        torch.testing.assert_close(parameter.grad.double(), online[name].grad, rtol=1e-3, atol=1e-5, msg=name)
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name])
        assert buffer.grad is None


def test_each_weight_belongs_to_its_own_transition() -> None:
    """A gradient is the sum of the gradients of its transitions, each alone with its weight."""
    network, batch = network_for(), sampled(count=4)
    together = gradient(network, batch)
    alone = torch.zeros_like(together)
    for n in range(4):
        only = batch._replace(weights=batch.weights * (torch.arange(4) == n))
        alone += gradient(network, only)
        doubled = gradient(network, only._replace(weights=2 * only.weights))
        torch.testing.assert_close(doubled, 2 * gradient(network, only))
    torch.testing.assert_close(together, alone)


def gradient(network: QNetwork, batch: Sampled) -> Tensor:
    network.zero_grad()
    ApexDQN().loss(network, batch).total.backward()
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def test_a_transition_without_weight_may_hold_anything() -> None:
    network, batch = network_for(), sampled(count=4)
    other = batch.transitions._replace(returns=batch.transitions.returns + torch.tensor([0.0, 1e6, 0.0, 0.0]))
    weights = torch.tensor([1.0, 0.0, 0.5, 0.25])
    one, two = (gradient(network, Sampled(each, weights)) for each in (batch.transitions, other))
    assert torch.equal(one, two)


def test_the_actor_gives_the_priorities_that_the_learner_would() -> None:
    network, algorithm = network_for(), ApexDQN(n_step=2)
    transitions, priorities = algorithm.transitions(network, random_batch(DISCRETE, 3))
    assert len(priorities) == len(transitions.returns) > 0
    loss = algorithm.loss(network, Sampled(transitions, torch.ones(len(priorities))))
    torch.testing.assert_close(loss.priorities, priorities)


def test_the_ladder_of_epsilons() -> None:
    """Powers of .4 from 1 to 8; among 4 environments of 2 workers those in the middle of each quarter."""
    expected = [0.4 ** (1 + 7 * place) for place in (1 / 8, 3 / 8, 5 / 8, 7 / 8)]
    workers = [ApexDQN().for_worker(Rank(number, 2)) for number in range(2)]
    assert [each for worker in workers for each in worker.epsilons(2).tolist()] == pytest.approx(expected)
    assert ApexDQN().epsilons(4).tolist() == pytest.approx(expected)
    assert ApexDQN().for_worker(Rank(0, 1)) == ApexDQN()


def test_among_as_many_actors_as_the_paper_has_it_is_the_papers_ladder() -> None:
    """epsilon^(1 + alpha i / (N - 1)), with N = 360."""
    papers = torch.tensor([0.4 ** (1 + 7 * i / 359) for i in range(360)])
    workers = [ApexDQN().for_worker(Rank(number, 36)) for number in range(36)]
    torch.testing.assert_close(torch.cat([each.epsilons(10) for each in workers]), papers, rtol=0.01, atol=0.0)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_nobody_or_everybody_explores(epsilon: float) -> None:
    worker = ApexDQN(epsilon=epsilon).for_worker(Rank(1, 3))
    assert worker.epsilons(2).tolist() == [epsilon] * 2


def test_the_copy_is_renewed_once_a_period_and_nothing_else_moves() -> None:
    network = network_for()
    weights = flatten(network).weights
    count, algorithm = len(weights) // 2, ApexDQN(target_period=3)
    before = weights.clone()
    for updates in (1, 2, 4, 5):
        algorithm.settle(weights, count, updates)
        assert torch.equal(weights, before)
    algorithm.settle(weights, count, 6)
    assert torch.equal(weights[:count], before[:count])
    assert torch.equal(weights[count:], before[:count])
    observations = torch.randn(5, 4)
    assert torch.equal(network.target(observations), network.policy(observations))


def test_a_copy_of_the_network_is_whole() -> None:
    network = network_for()
    other = copy.deepcopy(network)
    other.load_state_dict(network.state_dict())
    observations = torch.randn(5, 4)
    assert torch.equal(other.policy(observations), network.policy(observations))
    assert torch.equal(other.target(observations), network.target(observations))


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_step", 0), ("huber", -1.0), ("target_period", 0), ("epsilon", 1.5), ("epsilon_alpha", -1.0), ("t_max", 0)],
)
def test_numbers_that_cannot_work(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.{key}"):
        replace(ApexDQN(), **{key: value}).validate()
