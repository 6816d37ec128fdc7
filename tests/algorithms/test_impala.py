import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from marl.algorithms.a3c import A3C, a3c_loss
from marl.algorithms.base import Algorithm
from marl.algorithms.impala import IMPALA, vtrace_loss
from marl.algorithms.ppo import PPO
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.errors import ConfigError
from marl.networks.actor_critic import ActorCritic
from marl.networks.sampling import Rank
from marl.networks.settings import NetworkSettings
from tests.algorithms.cases import BOX, DISCRETE, random_batch
from tests.algorithms.literal_ppo import torch_distribution

both_spaces = pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])


def network_for(spaces: Spaces, seed: int, shared: bool = False) -> ActorCritic:
    network = ActorCritic(spaces, NetworkSettings(hidden=(8,), shared_trunk=shared, log_std=-0.3), seed)
    with torch.no_grad():
        for parameter in network.parameters():  # away from the start, where the policy is nearly uniform
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return network


def played_by(network: ActorCritic, spaces: Spaces, seed: int) -> Trajectory:
    batch = random_batch(spaces, seed)
    with torch.no_grad():
        return batch._replace(behaviour=network.policy(batch.observations[:-1]))


def literal_loss(
    network: ActorCritic,
    batch: Trajectory,
    *,
    discount: float,
    trace_lambda: float,
    max_rho: float,
    max_c: float,
    value_cost: float,
    entropy_cost: float,
    normalize_advantages: bool,
) -> dict[str, Tensor]:
    """The paper's definition, sum and products written out, one step at a time, in the network's precision."""
    T, B = batch.rewards.shape
    observations, discrete = batch.observations.double(), batch.actions.ndim == 2
    true_last = dict(zip(batch.last_index.tolist(), batch.last_observations.double(), strict=True))
    now = [[torch_distribution(network.policy(observations[t, b]), discrete) for b in range(B)] for t in range(T)]
    then = [[torch_distribution(batch.behaviour[t, b].double(), discrete) for b in range(B)] for t in range(T)]
    values = [[network.values(observations[t, b]) for b in range(B)] for t in range(T + 1)]

    def action(t: int, b: int) -> Tensor:
        return batch.actions[t, b] if discrete else batch.actions[t, b].double()

    def ratio(t: int, b: int) -> float:
        return (now[t][b].log_prob(action(t, b)) - then[t][b].log_prob(action(t, b))).exp().item()

    def following(t: int, b: int) -> float:
        """Value of the true next observation."""
        last = true_last.get(t * B + b)
        return 0.0 if batch.terminated[t, b] else (values[t + 1][b] if last is None else network.values(last)).item()

    def ends(t: int, b: int) -> bool:
        return bool(batch.terminated[t, b] or batch.truncated[t, b])

    def target(s: int, b: int) -> float:
        """Equation 1: V(x_s) + sum over t of discount^(t-s) (product of c) delta_t V."""
        total, trace = values[s][b].item(), 1.0
        for t in range(s, T):
            surprise = batch.rewards[t, b].item() + discount * following(t, b) - values[t][b].item()
            total += trace * min(max_rho, ratio(t, b)) * surprise
            if ends(t, b):
                break
            trace *= discount * trace_lambda * min(max_c, ratio(t, b))
        return total

    rhos, advantages, log_probs, entropies, errors, ratios = [], [], [], [], [], []
    for t in range(T):
        for b in range(B):
            if not batch.valid[t, b]:
                continue
            next_target = following(t, b) if ends(t, b) or t == T - 1 else target(t + 1, b)
            rhos.append(min(max_rho, ratio(t, b)))
            advantages.append(batch.rewards[t, b].item() + discount * next_target - values[t][b].item())
            log_probs.append(now[t][b].log_prob(action(t, b)))
            entropies.append(now[t][b].entropy())
            errors.append((target(t, b) - values[t][b]) ** 2)
            ratios.append(ratio(t, b))
    if normalize_advantages:  # mean and deviation of the policy that learns: each step counts rho
        mean = sum(r * a for r, a in zip(rhos, advantages, strict=True)) / sum(rhos)
        variance = sum(r * (a - mean) ** 2 for r, a in zip(rhos, advantages, strict=True)) / sum(rhos)
        advantages = [(a - mean) / variance**0.5 for a in advantages]
    count = len(rhos)
    policy_loss = -sum(r * a * p for r, a, p in zip(rhos, advantages, log_probs, strict=True)) / count
    value_loss, entropy = torch.stack(errors).mean(), torch.stack(entropies).mean()
    wide = torch.tensor(ratios, dtype=torch.float64)
    return {
        "total": policy_loss + value_cost * value_loss - entropy_cost * entropy,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "kl": (wide - 1 - wide.log()).mean(),
        "clipped": (wide > max_rho).double().mean(),
    }


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("max_rho", "max_c"), [(1.0, 1.0), (1.5, 0.6)])
@pytest.mark.parametrize("shared", [False, True])
@both_spaces
def test_loss_and_gradient_are_the_written_formula(
    spaces: Spaces, shared: bool, max_rho: float, max_c: float, normalize: bool, seed: int
) -> None:
    batch = played_by(network_for(spaces, seed + 10), spaces, seed)
    network = network_for(spaces, seed, shared)
    literal = copy.deepcopy(network).double()
    settings = {
        "discount": 0.9,
        "trace_lambda": 0.8,
        "max_rho": max_rho,
        "max_c": max_c,
        "value_cost": 0.7,
        "entropy_cost": 0.05,
        "normalize_advantages": normalize,
    }

    ours = vtrace_loss(network, batch, **settings)
    ours.total.backward()
    expected = literal_loss(literal, batch, **settings)
    expected["total"].backward()

    assert 0.1 < expected["clipped"] < 0.9  # there are ratios of both kinds
    assert ours.total.item() == pytest.approx(expected["total"].item(), rel=1e-4, abs=1e-5)
    assert set(ours.metrics) == set(expected) - {"total"}
    for name, value in ours.metrics.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-4, abs=1e-5), name
        assert not value.requires_grad
    for (name, mine), theirs in zip(network.named_parameters(), literal.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("max_rho", [1.0, 3.0])
@both_spaces
def test_what_its_own_weights_played_teaches_as_in_a3c(spaces: Spaces, max_rho: float, normalize: bool) -> None:
    network = network_for(spaces, 2)
    batch = played_by(network, spaces, 2)
    same = {"discount": 0.9, "value_cost": 0.7, "entropy_cost": 0.05, "normalize_advantages": normalize}

    traced = vtrace_loss(network, batch, trace_lambda=1.0, max_rho=max_rho, max_c=1.0, **same)
    plain = a3c_loss(network, batch, gae_lambda=1.0, **same)

    torch.testing.assert_close(traced.total, plain.total, rtol=1e-4, atol=1e-5)
    for name, value in plain.metrics.items():
        torch.testing.assert_close(traced.metrics[name], value, rtol=1e-4, atol=1e-5)
    assert traced.metrics["kl"].item() == pytest.approx(0, abs=1e-6)
    gradients = [torch.autograd.grad(loss.total, list(network.parameters())) for loss in (traced, plain)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_what_the_policy_would_never_do_moves_no_policy(normalize: bool) -> None:
    """Its ratio is 0, and so is its part in the gradient: not even the mean of the advantages is taken from it."""
    network = network_for(DISCRETE, 3)
    batch = played_by(network, DISCRETE, 3)
    with torch.no_grad():
        list(network.actor.parameters())[-1].copy_(torch.tensor([60.0, 0.0, 0.0]))
    sure, never = torch.zeros_like(batch.actions), torch.ones_like(batch.actions)
    batch = batch._replace(actions=sure.where(batch.rewards > 0, never), valid=torch.ones_like(batch.valid))
    loss = IMPALA(entropy_cost=0.0, normalize_advantages=normalize).loss(network, batch)
    loss.total.backward()
    assert max(float(parameter.grad.abs().max()) for parameter in network.actor.parameters()) < 1e-9


def test_no_transitions_teach_nothing() -> None:
    network = network_for(DISCRETE, 4)
    batch = played_by(network, DISCRETE, 4)
    none = batch._replace(valid=torch.zeros_like(batch.valid))
    loss = IMPALA(normalize_advantages=True).loss(network, none)
    loss.total.backward()
    assert loss.total.item() == 0
    assert not any(parameter.grad.any() for parameter in network.parameters())


def test_a3c_keeps_its_numbers_off_policy() -> None:
    """Each field gets a value of its own, so that one that is forgotten or mixed up shows."""
    numbers: dict[str, Any] = {}
    for place, field in enumerate(dataclasses.fields(A3C)):
        if field.name not in ("name", "schedule", "normalize_advantages"):
            numbers[field.name] = place + 2 if isinstance(field.default, int) else 0.5 + place / 64
    a3c = A3C(**numbers, schedule="cosine", normalize_advantages=True)
    assert all(getattr(a3c, field.name) != field.default for field in dataclasses.fields(a3c) if field.name != "name")

    traced = a3c.off_policy()

    assert isinstance(traced, IMPALA)
    assert traced.off_policy() is traced
    kept = {("trace_lambda" if name == "gae_lambda" else name): value for name, value in vars(a3c).items()}
    assert vars(traced) == {**kept, "name": "impala", "max_rho": 1.0, "max_c": 1.0}


def test_ppo_keeps_its_numbers_off_policy() -> None:
    ppo = PPO(clip=0.3, epochs=7, entropy_spread=2.0)
    assert ppo.off_policy() == dataclasses.replace(ppo, target="vtrace")


@pytest.mark.parametrize("kind", [A3C, PPO, IMPALA])
@pytest.mark.parametrize(
    ("number", "total", "cost"),
    [(0, 3, 0.01), (1, 3, 0.02), (2, 3, 0.04), (0, 1, 0.01), (0, 2, 0.01), (1, 2, 0.04)],
)
def test_some_workers_explore_more(kind: type[Any], number: int, total: int, cost: float) -> None:
    algorithm: Algorithm = kind(entropy_cost=0.01, entropy_spread=4.0)
    mine = algorithm.for_worker(Rank(number, total))
    assert vars(mine) == {**vars(algorithm), "entropy_cost": pytest.approx(cost)}
    assert vars(kind().for_worker(Rank(number, total))) == vars(kind())  # unless asked for, all the same


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trace_lambda", -0.1),
        ("trace_lambda", 1.1),
        ("trace_lambda", float("nan")),
        ("max_rho", 0.0),
        ("max_rho", -1.0),
        ("max_c", 0.0),
        ("max_c", 1.5),
        ("entropy_spread", 0.0),
        ("t_max", 0),
        ("discount", 1.5),
        ("learning_rate", 0.0),
    ],
)
def test_numbers_that_can_never_work(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^algorithm\.{key}: expected .*, got {value}$"):
        IMPALA(**{key: value}).validate()  # type: ignore[arg-type]


def test_numbers_that_work() -> None:
    IMPALA().validate()
    IMPALA(max_rho=2.0, max_c=2.0, trace_lambda=0.0, entropy_spread=0.5).validate()
    IMPALA(max_rho=float("inf")).validate()
