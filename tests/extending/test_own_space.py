"""Observations that are a tree: a space from outside the package goes through all that acts, and through a loss."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor, nn

from marl.acting.collect import Collector
from marl.acting.decide import ActionNoise, Decider, Question
from marl.acting.policy import Policy
from marl.acting.stepper import Stepper
from marl.acting.streams import Answered, Stream
from marl.algorithms.a3c import A3C
from marl.data.layout import Layout, at, batched, mapped
from marl.data.normalizer import Normalizer
from marl.data.replay.rollout import check, pack, rollout_tree, unpack
from marl.data.requests import ANSWERED, ASKED, RequestLayout, check_requests, request_fields
from marl.data.shared import SharedBlock
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.environments.serial import SerialVector
from marl.environments.vector import Environments
from marl.errors import EnvironmentFault
from marl.networks.contract import StatelessCritic
from marl.networks.distributions import Categorical
from marl.networks.sampling import OnPolicy
from marl.training.flat import flatten

COUNT, LENGTH, TOOLS, STEPS_OF_AN_EPISODE = 2, 7, 3, 5
SPACE = gym_spaces.Dict(
    arm=gym_spaces.Tuple([gym_spaces.Box(-np.inf, np.inf, (2,), np.float64), gym_spaces.Box(0, 9, (1,), np.float32)]),
    camera=gym_spaces.Box(0, 255, (2, 3), np.uint8),
    tool=gym_spaces.Discrete(TOOLS),
)
MEASURED = 9  # numbers: of the arm and of the camera


class Robot(gymnasium.Env[Any, Any]):
    """Shows its clock in every leaf; every episode is cut."""

    observation_space, action_space = SPACE, gym_spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._clock = 0
        return self._shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._clock += 1
        return self._shown(), 1.0, False, self._clock == STEPS_OF_AN_EPISODE, {}

    def _shown(self) -> Any:
        clock = self._clock
        arm = np.array([clock, 2.0 * clock]), np.full(1, clock, np.float32)
        return {"arm": arm, "camera": np.full((2, 3), clock, np.uint8), "tool": clock % TOOLS}


class Sees(StatelessCritic):
    """Reads every leaf."""

    def __init__(self) -> None:
        super().__init__()
        self.distribution = Categorical(2)
        self.outputs = nn.Linear(MEASURED + TOOLS, 3)

    def policy(self, observations: Any) -> Tensor:
        return self._all(observations)[..., :2]

    def values(self, observations: Any) -> Tensor:
        return self._all(observations)[..., 2]

    def _all(self, seen: Any) -> Tensor:
        tool = nn.functional.one_hot(seen["tool"].squeeze(-1).long(), TOOLS).float()
        outputs: Tensor = self.outputs(torch.cat([*seen["arm"], seen["camera"] / 255.0, tool], -1))
        return outputs


def made(mode: str) -> Environments:
    if mode == "ours":
        return Environments(SerialVector(Robot, COUNT, "robot"), "robot")
    return Environments(SyncVectorEnv([Robot] * COUNT, autoreset_mode=AutoresetMode(mode)), "robot")


def played(environments: Environments, network: Sees, normalizer: Normalizer | None = None) -> Trajectory:
    collector = Collector(
        environments,
        length=LENGTH,
        discount=0.9,
        reward_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        seeds=list(range(COUNT)),
    )
    trajectory, _ = collector.collect(network, normalizer, 0)
    assert collector.observation_statistics().mean.shape == (MEASURED,)
    return trajectory


def rows_of(spaces: Spaces, clock: int) -> Any:
    """What a network sees at a time, of one environment."""
    arm = torch.tensor([clock, 2.0 * clock]), torch.tensor([float(clock)])
    return {
        "arm": arm,
        "camera": torch.full((6,), clock, dtype=torch.uint8),
        "tool": torch.tensor([clock % TOOLS], dtype=torch.int32),
    }


@pytest.mark.parametrize("mode", ["ours", "NextStep", "SameStep", "Disabled"])
def test_a_trajectory_of_trees_is_collected_and_learned_from(mode: str) -> None:
    environments, network = made(mode), Sees()
    flatten(network)
    trajectory = played(environments, network)
    clocks = [0, 1, 2, 3, 4, 5, 0, 1] if mode in ("ours", "NextStep") else [0, 1, 2, 3, 4, 0, 1, 2]
    for step, clock in enumerate(clocks):
        wanted = rows_of(environments.spaces, clock)
        mapped(lambda seen, want: torch.testing.assert_close(seen[0], want), at(trajectory.observations, step), wanted)
    if mode in ("SameStep", "Disabled"):
        last = rows_of(environments.spaces, STEPS_OF_AN_EPISODE)
        mapped(lambda seen, want: torch.testing.assert_close(seen[1], want), trajectory.last_observations, last)
    A3C().loss(network, trajectory).total.backward()  # type: ignore[no-untyped-call]
    assert network.outputs.weight.grad is not None
    assert bool((network.outputs.weight.grad != 0).any())


def test_measured_leaves_are_normalised_and_categories_are_not() -> None:
    normalizer = Normalizer(MEASURED)
    environments = made("ours")
    seen = played(environments, Sees(), normalizer).observations
    assert seen["camera"].dtype is torch.float32
    assert seen["tool"][:6, 0, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert seen["arm"][0][:6, 0].tolist() == [[float(clock), 2.0 * clock] for clock in range(6)]


def test_a_trajectory_of_trees_travels() -> None:
    environments = made("SameStep")
    trajectory, spaces = played(environments, Sees()), environments.spaces
    layout = Layout(
        rollout_tree(
            length=LENGTH,
            environments=COUNT,
            observation=spaces.observation(),
            action=spaces.action,
            num_parameters=2,
            priorities=False,
        )
    )
    memory = torch.zeros(layout.num_bytes, dtype=torch.uint8)
    pack(layout.open(memory.numpy()), trajectory)
    there = layout.open(memory.clone())
    check(there, layout)
    mapped(torch.testing.assert_close, unpack(there)[0].observations, trajectory.observations)
    mapped(torch.testing.assert_close, unpack(there)[0].last_observations, trajectory.last_observations)


def test_where_a_parent_decides_trees_travel_as_well() -> None:
    groups, network = [made("SameStep"), made("SameStep")], Sees()
    spaces = groups[0].spaces
    layout = RequestLayout(environments=COUNT, observation=spaces.observation(), action=spaces.action)
    block = SharedBlock(request_fields(layout, 1))
    stepper = Stepper(groups, block, 0, layout, [[0, 1], [2, 3]])
    requests = layout.open(block["requests"][0].numpy())
    counts = block["request_counts"][0].numpy()
    stream = Stream(
        length=LENGTH, environments=COUNT, observation=spaces.observation(), action=spaces.action, network=network,
        reward_scale=1.0,
    )  # fmt: skip
    decider = Decider(network, torch.Generator().manual_seed(0))
    noise = ActionNoise(OnPolicy(network.distribution), LENGTH, COUNT)
    trajectory = None
    while trajectory is None:
        check_requests(requests, layout)
        question, first, num_last = requests["header"][0, 2:5].tolist()
        answered = Answered(
            question,
            bool(first),
            at(requests["observations"], 0),
            requests["rewards"][0],
            requests["ends"][0],
            at(requests["last_observations"], (0, slice(num_last))),
            requests["last_index"][0, :num_last],
        )
        trajectory = stream.take(answered)
        asked = Question(mapped(torch.from_numpy, stream.newest()), stream.state(), [noise])
        (answer,) = decider.decide([asked], 1)
        block["request_actions"][0, 0].copy_(answer.actions)
        stream.decided(question, answer.actions.numpy(), answer.behaviour.numpy(), answer.state, 1)
        for group in range(2):
            counts[group, ANSWERED] = counts[group, ASKED]
            stepper.step(lambda: True)
    alone = played(made("SameStep"), network)
    mapped(torch.testing.assert_close, trajectory.observations, alone.observations)
    mapped(torch.testing.assert_close, trajectory.last_observations, alone.last_observations)


def test_a_policy_acts_on_one_tree_or_many() -> None:
    environments = made("ours")
    policy = Policy(Sees(), environments.spaces, None, {})
    one = Robot().reset()[0]
    assert int(policy.act(one)) in (0, 1)
    many = Layout(batched(environments.spaces.raw, 4)).new()
    assert policy.act(many).shape == (4,)
    with pytest.raises(EnvironmentFault, match=r"expected an observation of shape .*'camera': \(2, 3\).*, got dict"):
        policy.act({**one, "arm": one["arm"][0]})
    with pytest.raises(EnvironmentFault, match=r"got .*'camera': \(3,\)"):
        policy.act({**one, "camera": np.zeros(3, np.uint8)})


def test_a_leaf_of_another_shape_is_refused_by_the_environments_name() -> None:
    environments = made("Disabled")
    with pytest.raises(EnvironmentFault, match=r"robot: expected observations of shape .*, got \(2, 9\)"):
        environments.demand_shape(np.zeros((COUNT, MEASURED)))
    values = Layout(batched(environments.spaces.raw, COUNT)).new()
    environments.demand_shape(values)
    values["arm"][0][1, 0] = np.nan
    with pytest.raises(EnvironmentFault, match="observation arm/0 nan is not finite"):
        environments.demand_numbers("observation", values)
