"""The built-in cores against torch's own cells, which compute one step after the other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from marl.data.layout import leaves
from marl.networks.actor_critic import RecurrentActorCritic
from marl.networks.contract import State, renewed
from marl.networks.cores import make_core, unrolled
from marl.networks.recurrent import gru_steps
from marl.networks.recurrent.gated import GRU, LSTM, Gated
from marl.networks.settings import NetworkSettings
from tests.plain_spaces import plain_spaces

S, B, FEATURES, SIZE = 7, 3, 4, 5
CELLS: dict[str, Any] = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}
cores = pytest.mark.parametrize("name", CELLS)
Begins = list[tuple[int, int]]  # step and row of each episode's first step
SOME: Begins = [(0, 1), (2, 0), (3, 0), (5, 1)]  # not in the last row; in a row twice, one right after the other
BEGINS: dict[str, Begins] = {
    "none": [],
    "first": [(0, 0), (0, 2)],
    "some": SOME,
    "every step": [(step, row) for step in range(S) for row in range(B)],
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, seed: int = 0) -> Gated:
    found = make_core(FEATURES, NetworkSettings(core=name, core_size=SIZE), generator(seed))
    assert found is not None
    core, size = found
    assert isinstance(core, Gated)
    assert size == core.size == SIZE
    return core


def trajectory(dtype: torch.dtype = torch.float64, begins: Begins = SOME) -> tuple[Tensor, Tensor]:
    """Features, and where episodes begin."""
    resets = torch.zeros(S, B, dtype=torch.bool)
    for step, row in begins:
        resets[step, row] = True
    return torch.randn(S, B, FEATURES, generator=generator(1), dtype=dtype), resets


def state_of(core: Gated, dtype: torch.dtype = torch.float64) -> State:
    """None that is zero."""
    found = [torch.randn(B, SIZE, generator=generator(seed), dtype=dtype) for seed in (2, 3)]
    return found[0] if isinstance(core, GRU) else tuple(found)


def step_by_step(
    step: Callable[[Tensor, State], tuple[Tensor, State]], features: Tensor, state: State, resets: Tensor
) -> Tensor:
    zero = renewed(state, torch.ones(B, dtype=torch.bool), tuple_of_zeros(state))
    found = []
    for now, fresh in zip(features, resets, strict=True):
        made, state = step(now, renewed(state, fresh, zero))
        found.append(made)
    return torch.stack(found)


def tuple_of_zeros(state: State) -> State:
    return tuple(map(torch.zeros_like, state)) if isinstance(state, tuple) else torch.zeros_like(state)


@cores
@pytest.mark.parametrize("begins", BEGINS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 3e-6)], ids=["64", "32"])
def test_steps_and_trajectories_are_those_of_torchs_cell_and_so_are_gradients(
    name: str, begins: str, dtype: torch.dtype, within: float
) -> None:
    check(name, dtype, within, BEGINS[begins])


def test_torch_computes_what_numpy_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gru_steps, "library_of", lambda unused: torch)
    check("gru", torch.float64, 1e-12, SOME)


def check(name: str, dtype: torch.dtype, within: float, begins: Begins) -> None:
    core, cell = made(name).to(dtype), CELLS[name](FEATURES, SIZE).to(dtype)
    cell.load_state_dict(
        {
            "weight_ih": core.inputs.weight, "bias_ih": core.inputs.bias,
            "weight_hh": core.recurrent.weight, "bias_hh": core.recurrent.bias,
        }
    )  # fmt: skip
    with torch.no_grad():
        for ours, theirs in ((core.inputs, cell.bias_ih), (core.recurrent, cell.bias_hh)):
            ours.bias.copy_(torch.randn(ours.bias.shape, generator=generator(4)))
            theirs.copy_(ours.bias)
    (features, resets), state = trajectory(dtype, begins), state_of(core, dtype)
    for each in (features, *leaves(state)):
        each.requires_grad_()

    def by_cell(now: Tensor, state: State) -> tuple[Tensor, State]:
        after = cell(now, state)
        return (after, after) if name == "gru" else (after[0], after)

    expected = step_by_step(by_cell, features, state, resets)
    weighed = torch.randn(expected.shape, generator=generator(5), dtype=dtype)
    (expected * weighed).sum().backward()
    slopes = [each.grad for each in (features, *leaves(state))]
    for each in (features, *leaves(state)):
        each.grad = None
    found = unrolled(core, features, state, resets)
    (found * weighed).sum().backward()
    torch.testing.assert_close(found, expected, atol=within, rtol=0)
    torch.testing.assert_close(step_by_step(core.step, features, state, resets), expected, atol=within, rtol=0)
    for each, slope in zip((features, *leaves(state)), slopes, strict=True):
        torch.testing.assert_close(each.grad, slope, atol=within, rtol=0)
    for ours, theirs in ((core.inputs, "ih"), (core.recurrent, "hh")):
        torch.testing.assert_close(ours.weight.grad, getattr(cell, f"weight_{theirs}").grad, atol=within, rtol=0)
        torch.testing.assert_close(ours.bias.grad, getattr(cell, f"bias_{theirs}").grad, atol=within, rtol=0)


@cores
@pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
def test_a_network_says_of_a_trajectory_what_it_says_step_by_step(name: str, shared: bool) -> None:
    settings = NetworkSettings(core=name, shared_trunk=shared)
    network = RecurrentActorCritic(plain_spaces((FEATURES,), num_actions=3), settings, 1)
    seen, resets = trajectory(torch.float32)
    initial = state = network.initial_state(B)
    outputs = network.unroll(seen, state, resets, S)
    for step, (now, fresh) in enumerate(zip(seen, resets, strict=True)):
        decision = network.step(now, renewed(state, fresh, initial))
        state = decision.state
        torch.testing.assert_close(outputs.parameters[step], decision.parameters, atol=1e-6, rtol=0)
        if decision.values is not None:
            torch.testing.assert_close(outputs.values[step], decision.values, atol=1e-6, rtol=0)
    assert (decision.values is not None) == shared
    assert len(leaves(state)) == {"gru": 1, "lstm": 2}[name]
    assert all(each.shape == (B, settings.core_size) for each in leaves(state))


@cores
def test_a_type_that_numpy_lacks_is_computed_by_torch(name: str) -> None:
    core, (features, resets) = made(name), trajectory(torch.float32)
    state: Any = core.initial_state(B)
    expected = unrolled(core, features, state, resets)
    state = state.bfloat16() if name == "gru" else tuple(each.bfloat16() for each in state)
    found = unrolled(core.bfloat16(), features.bfloat16(), state, resets)
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0)


@cores
def test_the_start_is_orthogonal_and_repeats(name: str) -> None:
    core, again, other = made(name), made(name), made(name, 1)
    for layer in (core.inputs, core.recurrent):
        for gate in layer.weight.chunk(core.num_gates):
            product = gate.T @ gate  # five rows: of four columns, and of five
            torch.testing.assert_close(product, torch.eye(len(product)), atol=1e-5, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(core.parameters(), again.parameters(), strict=True))
    assert not torch.equal(core.inputs.weight, other.inputs.weight)
    open_gates = [1.0 if isinstance(core, LSTM) and SIZE <= n < 2 * SIZE else 0.0 for n in range(len(core.inputs.bias))]
    assert core.inputs.bias.tolist() == open_gates
    assert not core.recurrent.bias.any()


@cores
def test_weights_that_torch_has_replaced_are_found(name: str) -> None:
    core, (features, resets) = made(name), trajectory()
    state = tuple_of_zeros(state_of(core))
    assert unrolled(core.double(), features, state, resets).dtype is torch.float64
    assert core.step(features[0], state)[0].dtype is torch.float64
