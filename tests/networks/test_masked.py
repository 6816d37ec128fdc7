"""What is forbidden has no chance, no value and no gradient."""

from typing import Any

import pytest
import torch
from gymnasium import spaces as gym_spaces

from marl.data.spaces import mask_sizes
from marl.environments.describe import describe
from marl.networks.build_network import actor_critic, q_network
from marl.networks.sampling import EpsilonGreedy
from marl.networks.settings import NetworkSettings
from tests.doors import Doors, Pairs

DOORS = describe(Doors.observation_space, Doors.action_space)
PAIRS = describe(Pairs.observation_space, Pairs.action_space, (), "open")
ARM = gym_spaces.Box(-1, 1, (2,))
MIXED = describe(
    gym_spaces.Dict({"a": ARM, "action_mask": gym_spaces.MultiBinary(5)}),
    gym_spaces.Tuple([ARM, gym_spaces.Discrete(3), gym_spaces.Box(-1, 1), gym_spaces.MultiBinary(1)]),
)
COLUMNS = {4: [None], 8: [0, 1], 5: [2, 4]}  # of categories in an action, by the size of the mask


def shown(spaces: Any, *leading: int) -> Any:
    """Observations with random masks that allow something of each number."""
    generator = torch.Generator().manual_seed(0)
    seen = spaces.zeros(*leading)
    mask = torch.rand(seen[spaces.mask].shape, generator=generator) < 0.4
    first = 0
    for size in mask_sizes(spaces.actions):
        mask[..., first + size - 1] = True
        first += size
    seen[spaces.mask] = mask.int()
    return seen


@pytest.mark.parametrize("spaces", [DOORS, PAIRS, MIXED], ids=["one", "two", "mixed"])
@pytest.mark.parametrize("core", [None, "gru"])
def test_nothing_that_is_forbidden_is_drawn(spaces: Any, core: str | None) -> None:
    network: Any = actor_critic(spaces, NetworkSettings(core=core), 0)
    seen, generator = shown(spaces, 500), torch.Generator().manual_seed(1)
    parameters = network.step(seen, network.initial_state(500)).parameters
    noise = network.distribution.noise((500,), generator)
    for actions in (network.distribution.sample(parameters, noise), network.distribution.mode(parameters)):
        first, sizes = 0, mask_sizes(spaces.actions)
        for column, size in zip(COLUMNS[sum(sizes)], sizes, strict=True):
            taken = (actions if column is None else actions[:, column]).long()
            assert seen[spaces.mask][:, first : first + size].gather(1, taken[:, None]).all()
            first += size
    assert torch.isfinite(network.distribution.entropy(parameters)).all()
    assert torch.isfinite(network.distribution.log_prob(parameters, actions)).all()


def test_probabilities_are_those_of_the_rest() -> None:
    """Against a softmax over the allowed logits alone, in float64."""
    network: Any = actor_critic(DOORS, NetworkSettings(), 0)
    with torch.no_grad():
        network.inner.actor.head.bias.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    seen = shown(DOORS, 50)
    parameters = network.step(seen, ()).parameters
    logits = network.inner.step(seen["observation"], ()).parameters.double()
    for row in range(50):
        allowed = seen["action_mask"][row].nonzero()[:, 0]
        expected = logits[row, allowed].log_softmax(0)
        found = network.distribution.log_prob(parameters[row].expand(len(allowed), -1), allowed)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
        entropy = network.distribution.entropy(parameters[row])
        torch.testing.assert_close(entropy.double(), -(expected.exp() * expected).sum(), rtol=1e-5, atol=1e-6)


def test_no_gradient_reaches_what_is_forbidden() -> None:
    network: Any = actor_critic(DOORS, NetworkSettings(), 0)
    seen = shown(DOORS, 20)
    seen["action_mask"][:] = torch.tensor([1, 0, 1, 0])
    parameters = network.unroll(seen, (), None, 20).parameters
    ones = torch.ones(20)
    loss = network.distribution.policy_gradient_loss(parameters, torch.full((20,), 2), ones, ones, 0.01)[0]
    loss.backward()
    gradient = network.inner.actor.head.bias.grad
    assert gradient.isfinite().all()
    assert (gradient[[1, 3]] == 0).all()
    assert (gradient[[0, 2]] != 0).all()


def test_where_nothing_is_allowed_all_counts() -> None:
    """After an end nobody acts, and values of a cut episode's last observation are of use."""
    network: Any = q_network(DOORS, NetworkSettings(), 0, dueling=True)
    seen = shown(DOORS, 4)
    seen["action_mask"][:] = 0
    assert torch.equal(network.policy(seen), network.inner.policy(seen["observation"]))


def test_values_of_what_is_forbidden_are_never_the_greatest_or_explored() -> None:
    network: Any = q_network(DOORS, NetworkSettings(), 0, dueling=True)
    seen = shown(DOORS, 400)
    sampler = EpsilonGreedy(4, lambda count: torch.ones(count))
    noise = sampler.noise((400,), torch.Generator().manual_seed(0))
    for values in (network.policy(seen), network.target(seen)):
        assert seen["action_mask"].gather(1, values.argmax(-1, keepdim=True)).all()
    actions, _ = sampler.act(network.policy(seen), noise)
    assert seen["action_mask"].gather(1, actions[:, None]).all()
    assert len(actions.unique()) == 4


def test_values_along_a_sequence_are_those_of_each_step_and_lowered_where_forbidden() -> None:
    network: Any = q_network(DOORS, NetworkSettings(core="gru"), 0, dueling=True)
    seen, state, resets = shown(DOORS, 6, 5), network.initial_state(5), torch.zeros(6, 5, dtype=torch.bool)
    allowed = seen["action_mask"].bool()
    for values in (network.unroll(seen, state, resets), network.unroll_target(seen, state, resets)):
        assert allowed.gather(2, values.argmax(-1, keepdim=True)).all()
        assert bool((values[~allowed] < -1e30).all())
        assert bool((values[allowed].abs() < 10).all())
