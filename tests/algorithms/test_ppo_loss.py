import copy

import pytest
import torch
from torch import Tensor

from marl.algorithms.base import Loss
from marl.algorithms.ppo import PPO
from marl.algorithms.ppo_loss import clipped_surrogate, ppo_loss, value_errors
from marl.algorithms.ppo_minibatch import Minibatch
from marl.data.spaces import Spaces
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from marl.training.flat import Flat, flatten
from tests.algorithms.cases import BOX, DISCRETE
from tests.algorithms.literal_ppo import NOW, literal_loss, network_for, played, shown


@pytest.mark.parametrize(
    ("shape", "clip"),
    [((1, 1), 0.2), ((7, 3), 0.2), ((11, 4), 0.2), ((7, 3), 1e9), ((7, 3), 1e-9)],
    ids=["1", "21", "44", "nothing is clipped", "all is clipped"],
)
@pytest.mark.parametrize("normalize", [False, True], ids=["as they are", "normalized"])
@pytest.mark.parametrize("value_clip", [0.0, 0.2], ids=["", "values clipped"])
@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_gradient_is_the_written_formulas(
    spaces: Spaces, value_clip: float, normalize: bool, shape: tuple[int, int], clip: float
) -> None:
    """What the closed form gives, and what autograd makes of the formula."""
    network, batch = shown(spaces, sum(shape), shape, clip)
    literal = copy.deepcopy(network)
    ours = ppo_loss(
        network,
        batch,
        value_cost=0.7,
        entropy_cost=0.05,
        value_clip=value_clip,
        normalize_advantages=normalize,
    )
    ours.total.backward()
    total, surrogate = literal_loss(literal, batch, spaces.discrete, value_clip, normalize and len(batch.actions) > 1)
    total.backward()

    part = ours.metrics["clipped"].item()
    assert part == pytest.approx({1e9: 0.0, 1e-9: 1.0}.get(clip, part))
    assert clip != 0.2 or len(batch.actions) == 1 or 0.1 < part < 0.99  # both branches were taken
    assert ours.metrics["policy_loss"].item() == pytest.approx(surrogate.item(), rel=1e-7)
    for (name, mine), theirs in zip(network.named_parameters(), literal.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_single_precision_is_enough(spaces: Spaces) -> None:
    network, batch = shown(spaces, 3, (7, 3), 0.2)
    single = copy.deepcopy(network).float()
    short = Minibatch._make([*(each.float() if each.is_floating_point() else each for each in batch[:6]), *batch[6:]])
    for each, minibatch in ((network, batch), (single, short)):
        ppo_loss(each, minibatch, value_cost=0.7, entropy_cost=0.05, value_clip=0.2).total.backward()
    for mine, theirs in zip(single.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-3, atol=1e-5)


def test_the_surrogate_by_hand() -> None:
    """Too likely, too unlikely and neither; good and bad. Only what would be moved farther away stops moving."""
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1, 0.9])
    value, slope = clipped_surrogate(ratio, torch.tensor([2.0, -2.0, 2.0, -2.0, 2.0, -2.0]), 0.2)
    torch.testing.assert_close(value, torch.tensor([2.4, -3.0, 1.0, -1.6, 2.2, -1.8]))
    torch.testing.assert_close(slope, torch.tensor([0.0, -3.0, 1.0, 0.0, 2.2, -1.8]))


@pytest.mark.parametrize("clip", [0.05, 0.2, 0.9])
def test_the_surrogates_slope_is_autograds(clip: float) -> None:
    generator = torch.Generator().manual_seed(1)
    log_ratio = torch.randn(2000, dtype=torch.float64, generator=generator).requires_grad_()
    advantages = torch.randn(2000, dtype=torch.float64, generator=generator)
    ratio = log_ratio.exp()
    value, slope = clipped_surrogate(ratio.detach(), advantages, clip)
    literal = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    literal.sum().backward()
    assert torch.equal(value, literal.detach())
    torch.testing.assert_close(slope, log_ratio.grad, rtol=1e-12, atol=0)


def test_value_errors_by_hand() -> None:
    """Within the clip, beyond it towards the target, which counts as if it had stopped there, and away from it."""
    values, old, targets = torch.tensor([1.1, 1.5, 0.5]), torch.ones(3), torch.full((3,), 2.0)
    errors, slopes = value_errors(values, old, targets, 0.2)
    torch.testing.assert_close(errors, torch.tensor([0.81, 0.64, 2.25]))
    torch.testing.assert_close(slopes, torch.tensor([-1.8, 0.0, -3.0]))
    errors, slopes = value_errors(values, old, targets, 0.0)
    torch.testing.assert_close(errors, torch.tensor([0.81, 0.25, 2.25]))
    torch.testing.assert_close(slopes, torch.tensor([-1.8, -1.0, -3.0]))


@pytest.mark.parametrize("value_clip", [0.0, 0.1, 1.0])
def test_the_slopes_of_value_errors_are_autograds(value_clip: float) -> None:
    generator = torch.Generator().manual_seed(2)
    values, old, targets = torch.randn(3, 2000, dtype=torch.float64, generator=generator)
    values.requires_grad_()
    errors, slopes = value_errors(values.detach(), old, targets, value_clip)
    literal = (values - targets).square()
    if value_clip:
        near = old + (values - old).clamp(-value_clip, value_clip)
        literal = torch.maximum(literal, (near - targets).square())
    literal.sum().backward()
    torch.testing.assert_close(errors, literal.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(slopes, values.grad, rtol=1e-12, atol=0)


def test_metrics_that_nobody_reads_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = shown(DISCRETE, 3, (7, 3), 0.2)
    with monkeypatch.context() as patch:
        patch.delattr(type(network.distribution), "entropy")
        loss = ppo_loss(network, batch, value_cost=0.7)
    assert set({**loss.metrics}) == {"policy_loss", "value_loss", "entropy", "kl", "clipped"}
    assert len(loss.metrics) == 5


@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_a_loss_may_be_a_part_of_another(spaces: Spaces) -> None:
    """Its gradient grows with it, and adds up with that of what else is made of the network."""
    network, batch = shown(spaces, 3, (7, 3), 0.2)
    alone = torch.autograd.grad(ppo_loss(network, batch, value_cost=0.7).total, list(network.parameters()))
    beside = network.values(batch.observations).sum() + network.policy(batch.observations).sum()
    others = torch.autograd.grad(beside, list(network.parameters()), retain_graph=True)
    (3.0 * ppo_loss(network, batch, value_cost=0.7).total + beside).backward()
    for parameter, mine, theirs in zip(network.parameters(), alone, others, strict=True):
        torch.testing.assert_close(parameter.grad, 3.0 * mine + theirs)


def by_hand_and_by_autograd() -> tuple[ActorCritic, Flat, Minibatch, Tensor]:
    """The same network's loss both ways: one gradient, and all to make the other."""
    network = network_for(DISCRETE)
    batch = next(PPO().minibatches(network, played(DISCRETE, 3, network_for(DISCRETE, 1)), NOW))
    literal = copy.deepcopy(network)
    loss = ppo_loss(literal, batch, value_cost=0.7, entropy_cost=0.05)
    assert loss.by_hand is None
    loss.backward()
    return network, flatten(network), batch, torch.cat([each.grad.flatten() for each in literal.parameters()])


def test_a_plain_network_learns_by_hand_what_autograd_would_teach_it() -> None:
    network, flat, batch, expected = by_hand_and_by_autograd()
    loss = ppo_loss(network, batch, value_cost=0.7, entropy_cost=0.05)
    assert loss.by_hand is not None
    loss.backward()
    torch.testing.assert_close(flat.gradient, expected)


@pytest.mark.parametrize("replaced", [False, True])
def test_what_is_made_of_a_total_by_hand_has_its_gradient(replaced: bool) -> None:
    network, flat, batch, expected = by_hand_and_by_autograd()
    found = ppo_loss(network, batch, value_cost=0.7, entropy_cost=0.05)
    beside = network.values(batch.observations).sum()
    total = 3.0 * found.total + beside
    (found._replace(total=total) if replaced else Loss(total, found.metrics)).backward()
    both = flat.gradient.clone()
    flat.gradient.zero_()
    network.values(batch.observations).sum().backward()
    torch.testing.assert_close(both, 3.0 * expected + flat.gradient)


def test_a_subclass_of_a_network_is_autograds() -> None:
    """It may say something else than the layers."""

    class Own(ActorCritic):
        pass

    _, _, batch, _ = by_hand_and_by_autograd()
    network = Own(DISCRETE, NetworkSettings(hidden=(8,)), 0)
    flatten(network)
    assert ppo_loss(network, batch, value_cost=0.7).by_hand is None
