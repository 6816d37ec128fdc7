"""Action values along sequences, against equations written out in float64: one environment, one step, one gate at a
time.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from marl.algorithms.apex_dqn import ApexDQN
from marl.algorithms.replayed import cut
from marl.data.replay.sequences import sequences_of
from marl.data.replay.transitions import Sampled
from marl.data.trajectory import Trajectory, resets_of
from marl.networks.build_network import q_network
from marl.networks.contract import renewed
from marl.networks.settings import NetworkSettings
from tests.algorithms.cases import DISCRETE

T, B, SIZE, ACTIONS = 9, 5, 3, 3
Tensors = dict[str, Tensor]
cores = pytest.mark.parametrize("core", ["gru", "lstm"])
modes = pytest.mark.parametrize("mode", ["NextStep", "SameStep"])


def network_for(core: str, *, dueling: bool = True) -> Any:
    """With a copy of other weights."""
    settings = NetworkSettings(hidden=(4,), core=core, core_size=SIZE)
    network = q_network(DISCRETE, settings, 0, dueling=dueling)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.add_(0.5 * torch.randn(tensor.shape, generator=generator))
    return network


def played(mode: str, core: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> Trajectory:
    """Episodes of 1 to 4 steps that end either way; the state before the first step is not 0."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(T, B, generator=generator).tolist()
    terminated, truncated, valid = torch.zeros(3, T, B, dtype=torch.bool)
    cut = []
    for row in range(B):
        since = row % 3
        for step in range(T):
            valid[step, row] = True
            if mode == "NextStep" and step and bool((terminated | truncated)[step - 1, row]):
                valid[step, row] = False
                continue
            since += 1
            if since == 4 or draw[step][row] < 0.25:
                since = 0
                (terminated if draw[step][row] < 0.12 or row == 4 else truncated)[step, row] = True
                if mode == "SameStep" and truncated[step, row]:
                    cut.append(step * B + row)
    once = {index % B: index for index in reversed(cut)}  # of each row the first
    if mode == "SameStep":
        for index in set(cut) - set(once.values()):  # of the others, no last observation is known
            truncated[index // B, index % B], terminated[index // B, index % B] = False, True

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    state = normal(B, SIZE) if core == "gru" else (normal(B, SIZE), normal(B, SIZE))
    return Trajectory(
        observations=normal(T + 1, B, 4),
        actions=torch.randint(ACTIONS, (T, B), generator=generator),
        rewards=3 * normal(T, B),
        terminated=terminated,
        truncated=truncated,
        valid=valid,
        last_observations=normal(len(once), 4),
        last_index=torch.tensor(list(once.values()), dtype=torch.int64),
        behaviour=torch.zeros(T, B, 0),
        version=0,
        state=state,
    )


def literal_step(tensors: Tensors, seen: Tensor, state: list[Tensor], dueling: bool) -> tuple[Tensor, list[Tensor]]:
    """Values of all actions, and what is remembered next, of one environment."""
    x = torch.tanh(tensors["hidden.0.weight"] @ seen + tensors["hidden.0.bias"])
    from_x = tensors["core.inputs.weight"] @ x + tensors["core.inputs.bias"]
    from_h = tensors["core.recurrent.weight"] @ state[0] + tensors["core.recurrent.bias"]
    a, b = from_x.split(SIZE), from_h.split(SIZE)
    if len(state) == 1:
        reset, update = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
        new = torch.tanh(a[2] + reset * b[2])
        after = [(1 - update) * new + update * state[0]]
    else:
        enter, forget, show = (torch.sigmoid(a[gate] + b[gate]) for gate in (0, 1, 3))
        cells = forget * state[1] + enter * torch.tanh(a[2] + b[2])
        after = [show * torch.tanh(cells), cells]
    outputs = tensors["head.weight"] @ after[0] + tensors["head.bias"]
    return (outputs[0] + outputs[1:] - outputs[1:].mean() if dueling else outputs), after


def squeezed(x: float) -> float:
    return ((x > 0) - (x < 0)) * ((abs(x) + 1) ** 0.5 - 1) + 0.001 * x


def unsqueezed(x: float) -> float:
    sign, e = (x > 0) - (x < 0), 0.001
    return sign * ((((1 + 4 * e * (abs(x) + 1 + e)) ** 0.5 - 1) / (2 * e)) ** 2 - 1)


def literal_errors(online: Tensors, past: Tensors, batch: Trajectory, row: int, numbers: ApexDQN) -> dict[int, Tensor]:
    """By step, those that count."""
    kept = batch.state if isinstance(batch.state, tuple) else (batch.state,)
    before = [[each[row] for each in kept], [each[row] for each in kept]]  # of the network and of its copy
    nothing = [torch.zeros_like(each) for each in before[0]]
    last = dict(zip(batch.last_index.tolist(), batch.last_observations, strict=True))
    ended = (batch.terminated | batch.truncated)[:, row].tolist()
    values, following = {}, {}  # at each step; by both networks of the true next observation
    for step in range(T):
        if step == numbers.burn_in:
            before = [[each.detach() for each in state] for state in before]
        if step and (not batch.valid[step - 1, row] or (ended[step - 1] and batch.valid[step, row])):
            before = [list(nothing), list(nothing)]
        seen = batch.observations[step, row]
        values[step], after = literal_step(online, seen, before[0], numbers.dueling)
        _, after_copy = literal_step(past, seen, before[1], numbers.dueling)
        before = [after, after_copy]
        then = last.get(step * B + row, batch.observations[step + 1, row])
        following[step] = [
            literal_step(each, then, state, numbers.dueling)[0].detach()
            for each, state in zip((online, past), before, strict=True)
        ]
    errors = {}
    for step in range(T):
        if not batch.valid[step, row] or step < numbers.burn_in:
            continue
        target, end = 0.0, step
        for number in range(numbers.n_step):
            end = step + number
            target += numbers.discount**number * batch.rewards[end, row].item()
            if ended[end] or end == T - 1:
                break
        if not batch.terminated[end, row]:
            chooses, worth = following[end]
            best = int((chooses if numbers.double else worth).argmax())
            far = unsqueezed(worth[best].item()) if numbers.rescaled else worth[best].item()
            target += numbers.discount ** (end - step + 1) * far
        target = squeezed(target) if numbers.rescaled else target
        errors[step] = values[step][batch.actions[step, row]] - target
    return errors


@modes
@cores
@pytest.mark.parametrize(
    "numbers",
    [
        ApexDQN(n_step=3, discount=0.9),
        ApexDQN(n_step=1, discount=0.9, dueling=False),
        ApexDQN(n_step=5, discount=0.95, rescaled=True),
        ApexDQN(n_step=2, discount=0.9, double=False, huber=0.0),
        ApexDQN(n_step=2, discount=0.9, burn_in=3),
    ],
    ids=["usual", "one step", "rescaled", "plain", "warmed"],
)
def test_gradient_and_priorities_are_the_written_formulas(numbers: ApexDQN, core: str, mode: str) -> None:
    network, batch = network_for(core, dueling=numbers.dueling).double(), played(mode, core)
    assert batch.truncated.any()
    assert batch.terminated.any()
    assert bool(len(batch.last_index)) == (mode == "SameStep")
    weights = torch.linspace(0.2, 1.0, B, dtype=torch.float64)
    loss = numbers.loss(network, Sampled(sequences_of(batch), weights))
    loss.total.backward()

    online = {name: each.detach().clone().requires_grad_() for name, each in network.online.named_parameters()}
    past = dict(network.past.named_buffers())
    total, huber, priorities = torch.zeros((), dtype=torch.float64), numbers.huber, []
    for row in range(B):
        errors = literal_errors(online, past, batch, row, numbers)
        for error in errors.values():
            quadratic = not huber or abs(error.item()) <= huber
            one = 0.5 * error**2 if quadratic else huber * (error.abs() - 0.5 * huber)
            total = total + weights[row] * one / batch.valid[numbers.burn_in :].sum()
        sizes = [abs(error.item()) for error in errors.values()]
        priorities.append(0.9 * max(sizes) + 0.1 * sum(sizes) / len(sizes))
    total.backward()
    assert loss.priorities is not None
    assert loss.priorities.tolist() == pytest.approx(priorities, abs=1e-5)
    for name, parameter in network.online.named_parameters():
        torch.testing.assert_close(
            parameter.grad, online[name].grad, rtol=1e-6, atol=1e-7
        )  # the duelling matrix is of float32
    assert all(each.grad is None for each in network.buffers())


@cores
@modes
def test_unrolled_is_what_was_said_step_by_step(mode: str, core: str) -> None:
    network, batch = network_for(core), played(mode, core, dtype=torch.float32)
    resets, initial, state = resets_of(batch), network.initial_state(B), batch.state
    assert resets is not None
    found = network.unroll(batch.observations, state, resets)
    for step in range(T + 1):
        decision = network.step(batch.observations[step], renewed(state, resets[step], initial))
        state = decision.state
        torch.testing.assert_close(found[step], decision.parameters, atol=1e-6, rtol=0)
    network.load_state_dict(network.state_dict() | {f"past.{k}": v for k, v in network.online.state_dict().items()})
    copied = network.unroll_target(batch.observations, batch.state, resets)
    assert torch.equal(copied, found)


@cores
def test_the_actor_gives_the_priorities_that_the_learner_would(core: str) -> None:
    network, algorithm = network_for(core), ApexDQN(n_step=2)
    rows, priorities = algorithm.transitions(network, played("SameStep", core, dtype=torch.float32))
    assert len(priorities) == B
    loss = algorithm.loss(network, Sampled(rows, torch.ones(B)))
    torch.testing.assert_close(loss.priorities, priorities)


def test_a_sequence_without_a_step_that_counts_has_no_priority_and_no_gradient() -> None:
    network, algorithm = network_for("gru"), ApexDQN()
    batch = played("NextStep", "gru", dtype=torch.float32)
    batch = batch._replace(valid=torch.zeros_like(batch.valid))
    rows, priorities = algorithm.transitions(network, batch)
    assert priorities.tolist() == [0.0] * B
    algorithm.loss(network, Sampled(rows, torch.ones(B))).total.backward()
    assert not any(parameter.grad.any() for parameter in network.online.parameters())


def test_a_sample_counts_the_steps_that_its_loss_is_a_mean_of() -> None:
    """Those behind the burn-in."""
    batch = played("NextStep", "gru", dtype=torch.float32)
    rows, _ = ApexDQN().transitions(network_for("gru"), batch)
    for burn_in in (0, 2):
        expected = sum(bool(each) for row in batch.valid[burn_in:] for each in row)
        assert ApexDQN(t_max=T - burn_in, burn_in=burn_in).count(Sampled(rows, torch.ones(B))) == expected
    transitions = cut(batch, discount=0.9, n=1)
    assert ApexDQN().count(Sampled(transitions, torch.ones(len(transitions.returns)))) == int(batch.valid.sum())
