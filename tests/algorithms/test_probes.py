"""The real worker loop, in this process, on environments whose right answers are known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from marl.acting.collect import Collector
from marl.acting.statistics import Rollouts, Statistics
from marl.algorithms.a3c import A3C
from marl.algorithms.apex_dqn import ApexDQN
from marl.algorithms.base import Algorithm
from marl.algorithms.impala import IMPALA
from marl.algorithms.ppo import PPO
from marl.algorithms.sac import SAC
from marl.data.layout import Leaf, Tree
from marl.data.node.memory import node_memory
from marl.data.replay.priorities import priority_fields
from marl.data.replay.transitions import transition_fields
from marl.data.settings import ReplaySettings
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.networks.actor_critic import ActorCritic
from marl.networks.sampling import Rank
from marl.networks.settings import NetworkSettings
from marl.processes.threads import one_thread
from marl.training.flat import flatten
from marl.training.hogwild import train
from marl.training.learned_weights import SharedWeights
from marl.training.minibatches import Fresh, MinibatchSource, ReplayedTransitions
from marl.training.optimizers import OptimizerSettings, make_optimizer
from marl.training.schedule_length import ScheduleLength
from marl.training.worker_metrics import Telemetry

DISCOUNT = 0.5


@dataclass(frozen=True)
class Form:
    """Both forms of A3C, and other algorithms that have a policy and a value."""

    per_worker: int
    algorithm: Algorithm
    optimizer: OptimizerSettings
    trajectories: int
    updates_each: int = 1
    replay: ReplaySettings | None = None


PAPER = Form(
    1,
    A3C(discount=DISCOUNT, learning_rate=6e-3, schedule="linear", max_gradient_norm=40.0),
    OptimizerSettings("rmsprop", epsilon=1e-3),
    trajectories=700,
)
BATCHED = Form(
    8,
    A3C(discount=DISCOUNT, learning_rate=1e-2, gae_lambda=0.95, schedule="linear"),
    OptimizerSettings("adam"),
    trajectories=250,
)
CLIPPED = Form(
    8,
    PPO(discount=DISCOUNT, t_max=8, epochs=3, num_minibatches=2, learning_rate=1e-2, schedule="linear"),
    OptimizerSettings("adam"),
    trajectories=60,
    updates_each=6,
)
TRACED = Form(
    8,
    IMPALA(discount=DISCOUNT, t_max=5, learning_rate=1e-2, trace_lambda=0.95, schedule="linear"),
    OptimizerSettings("adam"),
    trajectories=250,
)
QLEARNING = Form(
    8,
    ApexDQN(discount=DISCOUNT, t_max=8, learning_rate=1e-2, schedule="linear", target_period=10),
    OptimizerSettings("adam"),
    trajectories=60,
    replay=ReplaySettings(ratio=4.0, capacity=2000, start=64, batch_size=64),
)
SOFT = Form(
    8,
    SAC(discount=DISCOUNT, t_max=8, learning_rate=2e-2, schedule="linear", target_rate=0.05, temperature=0.1),
    OptimizerSettings("adam"),
    trajectories=150,
    replay=ReplaySettings(ratio=8.0, capacity=2000, start=64, batch_size=64),
)
FORMS = {"paper": PAPER, "batched": BATCHED, "ppo": CLIPPED, "impala": TRACED}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
trunks = pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker: at this size more threads only wait for each other, ten times as long."""
    with one_thread():
        yield


def learned(probe: str, form: Form, shared: bool = False) -> Any:
    """The network after training alone."""
    settings = EnvironmentSettings(id=f"tests.fakes:{probe}")
    environments = make_environments(settings, form.per_worker)
    generator = torch.Generator().manual_seed(0)
    algorithm = form.algorithm.for_worker(Rank(0, 1))
    network = algorithm.build_network(
        environments.spaces, NetworkSettings(hidden=(16,), shared_trunk=shared, log_std=-1.0), seed=0
    )
    local = flatten(network)
    block = node_memory(
        num_weights=local.weights.numel(),
        num_parameters=local.gradient.numel(),
        observation_size=1,
        workers=1,
        more=replay_of(environments.spaces, form),
    )
    block["weights"].copy_(local.weights)
    trajectories = iter(range(form.trajectories))
    train(
        algorithm=algorithm,
        network=network,
        weights=SharedWeights(
            local,
            block["weights"],
            make_optimizer(form.optimizer, block["optimizer"], block["optimizer_steps"]),
        ),
        source=Rollouts(
            Collector(
                environments,
                length=form.algorithm.t_max,
                discount=DISCOUNT,
                reward_scale=1.0,
                generator=generator,
                seeds=list(range(form.per_worker)),
                sampler=algorithm.sampler(network.distribution),
            ),
            Statistics(block, 0, observations=False, rewards=False),
        ),
        minibatches=minibatches_of(form, algorithm, network, block),
        telemetry=Telemetry(block, 0, ScheduleLength(form.trajectories * form.algorithm.t_max * form.per_worker)),
        generator=generator,
        go_on=lambda: next(trajectories, None) is not None,
    )
    if form.replay is None:
        assert block["optimizer_steps"].item() == form.trajectories * form.updates_each
    local.weights.copy_(block["weights"])
    return network


def replay_of(spaces: Spaces, form: Form) -> dict[str, Tree]:
    if form.replay is None:
        return {}
    action = Leaf((), torch.int64) if spaces.discrete else Leaf((1,), torch.float32)
    capacity, observation = form.replay.capacity, Leaf((1,), torch.float32)
    fields = transition_fields(capacity=capacity, workers=1, observation=observation, action=action)
    return fields | priority_fields(capacity)


def minibatches_of(form: Form, algorithm: Algorithm, network: nn.Module, block: SharedBlock) -> MinibatchSource:
    if form.replay is None:
        return Fresh(algorithm, network)
    rng = np.random.default_rng(0)
    return ReplayedTransitions(algorithm, network, block, 0, form.replay, ratio=form.replay.ratio or 0, rng=rng)


def values(network: ActorCritic, *observations: float) -> list[float]:
    return network.values(torch.tensor(observations).unsqueeze(-1)).tolist()


def probabilities(network: ActorCritic, *observations: float) -> list[float]:
    """Of action 1."""
    return network.policy(torch.tensor(observations).unsqueeze(-1)).softmax(-1)[:, 1].tolist()


@pytest.mark.parametrize(
    ("form", "shared"), [(PAPER, False), (BATCHED, True), (CLIPPED, True), (TRACED, False)], ids=FORMS
)
@pytest.mark.parametrize(
    ("probe", "observations", "expected"),
    [
        ("ConstantReward", [0.0], [1.0]),
        ("RewardByObservation", [1.0, -1.0], [1.0, -1.0]),
        ("TwoSteps", [0.0, 1.0], [DISCOUNT, 1.0]),
        ("Cut", [0.0], [1 / (1 - DISCOUNT)]),
    ],
)
def test_values(probe: str, observations: list[float], expected: list[float], shared: bool, form: Form) -> None:
    assert values(learned(probe, form, shared), *observations) == pytest.approx(expected, abs=0.1)


@forms
def test_a_two_armed_bandit(form: Form) -> None:
    network = learned("RewardByAction", form, shared=False)
    assert probabilities(network, 0.0)[0] > 0.95
    assert values(network, 0.0) == pytest.approx([1.0], abs=0.2)


@forms
@trunks
def test_the_action_that_the_observation_asks_for(form: Form, shared: bool) -> None:
    right, left = probabilities(learned("ActionByObservation", form, shared), 1.0, -1.0)
    assert right > 0.95
    assert left < 0.05


@forms
@trunks
def test_a_continuous_action(form: Form, shared: bool) -> None:
    """In the policy's own range, where the box [0, 4] is [-1, 1]: best is 1/2 and -1/2."""
    network = learned("Continuous", form, shared)
    parameters = network.policy(torch.tensor([[1.0], [-1.0]]))
    assert parameters[:, 0].tolist() == pytest.approx([0.5, -0.5], abs=0.15)
    assert (parameters[:, 1] < -1.2).all()  # and it has grown surer


def action_values(network: Any, *observations: float) -> list[float]:
    """Of the first and the second action where -1, 0 or 1 is seen, one after another."""
    return network.policy(torch.tensor(observations).unsqueeze(-1)).flatten().tolist()


@pytest.mark.parametrize(
    ("probe", "observations", "expected"),
    [
        ("ConstantReward", [0.0], [1.0, 1.0]),
        ("RewardByObservation", [1.0, -1.0], [1.0, 1.0, -1.0, -1.0]),
        ("RewardByAction", [0.0], [-1.0, 1.0]),
        ("ActionByObservation", [1.0, -1.0], [-1.0, 1.0, 1.0, -1.0]),
        ("TwoSteps", [0.0, 1.0], [DISCOUNT, DISCOUNT, 1.0, 1.0]),
        ("Cut", [0.0], [1 / (1 - DISCOUNT)] * 2),
    ],
)
@pytest.mark.parametrize("dueling", [False, True])
def test_action_values(probe: str, observations: list[float], expected: list[float], dueling: bool) -> None:
    form = replace(QLEARNING, algorithm=replace(QLEARNING.algorithm, dueling=dueling, epsilon=1.0))
    assert action_values(learned(probe, form), *observations) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("probe", ["RewardByAction", "ActionByObservation"])
def test_greedy_but_for_a_few_actions(probe: str) -> None:
    right = action_values(learned(probe, QLEARNING), 1.0)
    assert right[1] > right[0] + 0.5


def test_a_continuous_action_from_a_replay() -> None:
    """In [-1, 1] again: best is 1/2 and -1/2, which cost nothing."""
    network = learned("Continuous", SOFT)
    observations = torch.tensor([[1.0], [-1.0]])
    best = network.distribution.mode(network.policy(observations)).squeeze(-1)
    assert best.tolist() == pytest.approx([0.5, -0.5], abs=0.15)
    values = network.values(observations, torch.tensor([[0.5], [-0.5]]))
    torch.testing.assert_close(values, torch.zeros(2, 2), atol=0.25, rtol=0.0)
