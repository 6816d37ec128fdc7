"""A recurrent core from outside the package: its state goes from the collector into the trajectory and the loss."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marl.acting.policy import Policy as Trained
from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm, Moment
from marl.algorithms.impala import IMPALA
from marl.algorithms.last_values import following_values, outputs_of
from marl.algorithms.ppo import PPO
from marl.api import evaluate, load, train
from marl.data.layout import leaves
from marl.data.trajectory import Trajectory
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.errors import EnvironmentFault
from marl.networks.build_network import actor_critic
from marl.networks.contract import Policy, State
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from marl.training.learned_weights import hogwild_step
from marl.training.optimizers import OptimizerSettings, make_optimizer
from tests.extending import memory
from tests.extending.memory import (
    COUNT,
    MEMORY,
    RECALL,
    collector_of,
    counting,
    exact,
)

HERE = memory.__name__
MOMENT = Moment(0.0, torch.Generator().manual_seed(0))

shared_or_not = pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
modes = pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])


@shared_or_not
@pytest.mark.parametrize("ends", ["terminated", "truncated", "alternate"])
@modes
def test_unrolling_says_what_was_said_step_by_step(mode: str, ends: str, shared: bool) -> None:
    """Bit for bit, over trajectories in a row, where episodes end anywhere in them; values but for rounding."""
    environments = counting(mode, ends, length=1, grows=True)
    policy, collector = cast(Policy, exact(environments.spaces, shared=shared)), collector_of(environments, 5)
    sums: list[Tensor | None] = [None] * COUNT  # of the episode under way, by hand
    cuts = 0
    for _ in range(6):
        trajectory, _ = collector.collect(policy, None, 0)
        parameters, values = outputs_of(policy, trajectory)
        assert torch.equal(parameters[trajectory.valid], trajectory.behaviour[trajectory.valid])
        following = following_values(policy, values.detach(), trajectory)
        for row in range(COUNT):
            last = dict(zip(trajectory.last_index.tolist(), trajectory.last_observations, strict=True))
            for step in range(5):
                seen = trajectory.observations[step, row]
                if not trajectory.valid[step, row]:
                    sums[row] = None
                    continue
                before = sums[row]
                state = policy.initial_state(1) if before is None else before
                decision = policy.step(seen.unsqueeze(0), state)
                sums[row] = decision.state
                if step == 0:
                    assert told(trajectory.state, row) == told(state, 0)
                torch.testing.assert_close(worth(policy, seen, state), values[step, row])
                ended = bool(trajectory.terminated[step, row] | trajectory.truncated[step, row])
                true_next = last.get(step * COUNT + row, trajectory.observations[step + 1, row])
                if trajectory.truncated[step, row] or not ended:
                    torch.testing.assert_close(worth(policy, true_next, decision.state), following[step, row])
                    cuts += ended
                if ended and mode != "NextStep":
                    sums[row] = None
    assert (cuts > 0) == (ends != "terminated")


def worth(policy: Policy, seen: Tensor, state: State) -> Tensor:
    """The value of one observation."""
    return policy.unroll(seen.view(1, 1, -1), state, torch.zeros(1, 1, dtype=torch.bool), 0).values[0, 0]


def told(state: State, row: int) -> list[Any]:
    """What is remembered of one environment."""
    return [*state["total"][row].tolist(), *(part[row].item() for part in state["more"])]


def test_nothing_of_an_episode_is_left_in_the_next() -> None:
    """The state at the start of each trajectory, by what CountingEnv shows: its step and the number of the episode."""
    environments = counting("SameStep", "terminated", length=3)
    policy, collector = cast(Policy, exact(environments.spaces, shared=True)), collector_of(environments, 4)
    found = []
    for _ in range(3):
        trajectory, _ = collector.collect(policy, None, 0)
        total, (steps,) = trajectory.state["total"], trajectory.state["more"]
        found.append((total[:, :2].tolist(), steps.tolist()))
    assert found == [
        ([[5.0, 5.0]] * COUNT, [0] * COUNT),
        ([[5.0, 6.0]] * COUNT, [1] * COUNT),  # has seen step 0 of episode 1
        ([[6.0, 9.0]] * COUNT, [2] * COUNT),  # steps 0 and 1 of episode 2
    ]


def test_a_reset_of_the_collector_forgets() -> None:
    environments = counting("SameStep", "terminated", length=9)
    policy, collector = cast(Policy, exact(environments.spaces, shared=True)), collector_of(environments, 4)
    first = collector.collect(policy, None, 0)[0].state["total"].tolist()
    assert collector.collect(policy, None, 0)[0].state["total"].tolist() != first
    collector.reset(list(range(COUNT)))
    assert collector.collect(policy, None, 0)[0].state["total"].tolist() == first


@pytest.mark.parametrize("core", [MEMORY, "gru", "lstm"])
def test_a_gradient_goes_back_through_time_and_not_beyond_an_end(core: str) -> None:
    environments = counting("SameStep", "terminated", length=3)
    network = actor_critic(environments.spaces, NetworkSettings(hidden=(4,), core=core, shared_trunk=True), 1)
    policy, collector = cast(Policy, network), collector_of(environments, 6)
    trajectory = collector.collect(policy, None, 0)[0]
    observations = torch.randn(trajectory.observations.shape, generator=torch.Generator().manual_seed(1))
    observations.requires_grad_()
    values = outputs_of(policy, trajectory._replace(observations=observations)).values
    values[4].sum().backward()  # the second step of the second episode
    assert observations.grad is not None
    assert [bool(step.any()) for step in observations.grad] == [False, False, False, True, True, False, False]


def learned(algorithm: Algorithm, core: str | None, trajectories: int) -> float:
    """Mean return over the last trajectories of a run alone."""
    environments = make_environments(EnvironmentSettings(id=RECALL), 16)
    settings = NetworkSettings(hidden=(16,), core=core, core_size=16, shared_trunk=True)
    network = algorithm.build_network(environments.spaces, settings, 1)
    local = flatten(network)
    shared = local.weights.clone()
    optimizer = make_optimizer(OptimizerSettings("adam"), torch.zeros(2, len(local.gradient)), torch.zeros(1))
    generator = torch.Generator().manual_seed(3)
    collector = collector_of(environments, algorithm.t_max)
    returns: list[float] = []
    for _ in range(trajectories):
        trajectory, episodes = collector.collect(cast(Policy, network), None, 0)
        collector.scale_rewards(1.0)
        returns += episodes.returns.tolist()
        for batch in algorithm.minibatches(network, trajectory, Moment(0.0, generator)):
            loss = algorithm.loss(network, batch)
            hogwild_step(shared, local, optimizer, loss, algorithm.learning_rate, algorithm.max_gradient_norm)
            local.weights.copy_(shared)
    return float(np.mean(returns[-300:]))


FORMS: dict[str, Algorithm] = {
    "a3c": A3C(t_max=7, learning_rate=1e-2, gae_lambda=0.95),
    "impala": IMPALA(t_max=7, learning_rate=1e-2),
    "ppo": PPO(t_max=16, learning_rate=1e-2, epochs=4, num_minibatches=2),
    "ppo, V-trace": PPO(t_max=16, learning_rate=1e-2, epochs=4, num_minibatches=2, target="vtrace", kl_stop=0.5),
}


@pytest.mark.parametrize(
    ("form", "core"),
    [*((form, MEMORY) for form in FORMS), ("ppo", "gru"), ("ppo", "lstm"), ("a3c", "gru"), ("impala", "lstm")],
)
def test_what_has_to_be_remembered_is_learned(form: str, core: str) -> None:
    """Trajectories are no multiple of an episode: what is recalled has often been seen in the trajectory before."""
    torch.set_num_threads(1)
    assert learned(FORMS[form], core, 150 if form in ("a3c", "impala") else 40) > 0.8


@pytest.mark.parametrize(("form", "trajectories"), [("a3c", 100), ("ppo", 40)])
def test_without_a_core_it_cannot_be(form: str, trajectories: int) -> None:
    torch.set_num_threads(1)
    assert abs(learned(FORMS[form], None, trajectories)) < 0.3


@pytest.mark.parametrize(
    ("sequence", "sizes", "steps"),
    [(0, [2, 1], 6), (6, [2, 1], 6), (3, [3, 3], 3), (4, [3, 3], 3), (2, [5, 4], 2), (1, [9, 9], 1), (5, [3, 3], 3)],
)
def test_minibatches_of_ppo_are_sequences(sequence: int, sizes: list[int], steps: int) -> None:
    environments = counting("NextStep", "alternate", length=2)
    policy, collector = cast(Policy, exact(environments.spaces, shared=False)), collector_of(environments, 6)
    collector.collect(policy, None, 0)
    trajectory: Trajectory = collector.collect(policy, None, 0)[0]
    algorithm = PPO(epochs=2, num_minibatches=2, sequence=sequence)
    batches = list(algorithm.minibatches(cast(nn.Module, policy), trajectory, MOMENT))
    assert [batch.size() for batch in batches] == sizes * 2
    assert all(len(batch.actions) == steps for batch in batches)
    for batch in batches:
        parameters, values = batch.outputs(policy)
        flat = batch.flat()
        counted = flat.weights() > 0
        assert counted.any()
        assert not counted.all()  # resets are no transitions
        log_probs = policy.distribution.log_prob(parameters, flat.actions)
        assert torch.equal(log_probs[counted], flat.log_probs[counted])  # nothing has been learned yet: the ratio is 1
        torch.testing.assert_close(values[counted], flat.values[counted])
        assert float(batch.weights().sum()) == pytest.approx(1.0)


@pytest.mark.parametrize(("steps", "sequence"), [(130, 130), (128, 128), (6, 128)])
def test_unless_asked_ppo_goes_back_to_the_beginning_of_the_trajectory(steps: int, sequence: int) -> None:
    environments = counting("SameStep", "terminated", length=9)
    policy, collector = cast(Policy, exact(environments.spaces, shared=True)), collector_of(environments, steps)
    trajectory: Trajectory = collector.collect(policy, None, 0)[0]
    found, expected = (
        list(algorithm.minibatches(cast(nn.Module, policy), trajectory, Moment(0.0, torch.Generator().manual_seed(4))))
        for algorithm in (PPO(num_minibatches=COUNT), PPO(num_minibatches=COUNT, sequence=sequence))
    )
    assert len(found) == len(expected) == COUNT * PPO.epochs
    for batch, same in zip(found, expected, strict=True):
        assert batch.actions.shape[:2] == (steps, 1)
        numbers = ("clip", "entropy_cost", "standard")
        assert [getattr(batch, name) for name in numbers] == [getattr(same, name) for name in numbers]
        compared = (leaves(tuple(each._replace(**dict.fromkeys(numbers, ())))) for each in (batch, same))
        assert all(torch.equal(*pair) for pair in zip(*compared, strict=True))


def test_each_transition_is_in_one_sequence_though_they_do_not_fill_the_last() -> None:
    """Seven steps are sequences of three, three and one."""
    environments = counting("SameStep", "terminated", length=3)
    policy, collector = cast(Policy, exact(environments.spaces, shared=True)), collector_of(environments, 7)
    trajectory: Trajectory = collector.collect(policy, None, 0)[0]
    (batch,) = PPO(epochs=1, num_minibatches=1, sequence=3).minibatches(cast(nn.Module, policy), trajectory, MOMENT)
    assert batch.actions.shape[:2] == (3, 3 * COUNT)
    assert int(batch.valid.sum()) == 7 * COUNT
    assert batch.valid[0].all()
    seen = batch.observations[batch.valid]
    assert sorted(seen.tolist()) == sorted(trajectory.observations[:-1].flatten(0, 1).tolist())


@pytest.mark.parametrize(
    ("algorithm", "exchange", "core"),
    [
        *(("ppo", exchange, MEMORY) for exchange in ("weights", "experience", "observations")),
        ("ppo", "weights", "gru"),
        ("ppo", "experience", "lstm"),
        ("ppo", "observations", "lstm"),
        ("apex_dqn", "weights", MEMORY),
        ("apex_dqn", "experience", "lstm"),
        ("apex_dqn", "observations", "gru"),
    ],
)
def test_a_run_trains_evaluates_and_loads(algorithm: str, exchange: str, core: str, tmp_path: Path) -> None:
    settings = {
        "seed": 1, "stop.steps": 1000, "node.workers": 1, "algorithm.name": algorithm, "algorithm.t_max": 16,
        "replay.start": 100, "replay.ratio": 1.0 if algorithm == "apex_dqn" else 0.0,
        "exchange.name": exchange, "environment.per_worker": 4, "network.hidden": [8], "network.core": core,
        "report.runs": str(tmp_path / "runs"), "report.pictures": False, "report.sinks": ["metrics"],
        "evaluation.final_episodes": 4, "evaluation.episodes": 2, "environment.solved_return": None,
    }  # fmt: skip
    if algorithm == "apex_dqn":
        settings["algorithm.burn_in"] = 8
    result = train(RECALL, settings=settings, out=tmp_path / "weights.pt", live=False)
    assert (result.reason, result.failure) == ("steps", None)
    assert result.updates > 0
    assert result.steps >= 1000
    assert len(evaluate(result.weights, episodes=6).returns) == 6
    policy = load(result.weights)
    parameters = []
    for cue in (1.0, -1.0):
        policy.reset()
        policy.act([cue])
        policy.act([0.0])
        parameters.append(remembered(policy))
    assert parameters[0] != parameters[1]  # the same is seen last
    policy.reset()
    policy.act([1.0])
    policy.act([0.0])
    assert remembered(policy) == parameters[0]


def remembered(policy: Trained) -> Any:
    return [each.tolist() for each in leaves(cast(Any, policy)._state)]


def test_a_policy_that_remembers_is_told_of_ends() -> None:
    environments = counting("SameStep", "terminated", length=9)
    network = cast(Policy, exact(environments.spaces, shared=True))
    policy = Trained(network, environments.spaces, None, {})
    for _ in range(2):
        policy.act(np.ones((2, 3)))
    policy.reset([True, False])
    policy.act(np.ones((2, 3)))
    state = cast(Any, policy)._state
    assert state["more"][0].tolist() == [1, 3]
    with pytest.raises(EnvironmentFault, match=r"expected 2 observations as before, got 3: call reset\(\)"):
        policy.act(np.ones((3, 3)))
    policy.reset()
    policy.act(np.ones((3, 3)))
