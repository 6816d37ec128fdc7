"""One pass decides for everybody, each as its own worker explores, and what a network remembers is never mixed."""

import torch
from torch import Tensor

from marl.acting.decide import ActionNoise, Decider, Question
from marl.networks.contract import Acts, Decision, State, Stateless
from marl.networks.distributions import Categorical
from marl.networks.sampling import OnPolicy, Sampler

NUM_ACTIONS, LENGTH, VERSION = 3, 5, 3


class Linear(Stateless):
    """Logits that are three times the first number, and how often it was asked."""

    distribution = Categorical(NUM_ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def policy(self, observations: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        self.seen.append(observations.clone())
        return observations[:, :1].repeat(1, NUM_ACTIONS)


class Counter:
    """Remembers how many steps there were; says it in its parameters."""

    distribution = Categorical(NUM_ACTIONS)

    def initial_state(self, rows: int) -> State:
        return {"steps": torch.zeros(rows, 1)}

    def step(self, observations: Tensor, state: State) -> Decision:
        steps = state["steps"] + 1
        return Decision(steps.repeat(1, NUM_ACTIONS) + observations[:, :1] * 100, None, {"steps": steps})


class Always:
    """A sampler that draws one action."""

    def __init__(self, action: int) -> None:
        self._action = action
        self.shapes: list[tuple[int, ...]] = []
        self.noise_seen: list[list[float]] = []

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        self.shapes.append(shape)
        return torch.rand(*shape, generator=generator)

    def act(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        assert parameters.shape[:1] == noise.shape
        self.noise_seen.append(noise.tolist())
        return torch.full(parameters.shape[:1], self._action), parameters + self._action


def decider(network: Acts, seed: int = 1) -> Decider:
    return Decider(network, torch.Generator().manual_seed(seed))


def question(numbers: list[float], *samplers: Sampler, states: list[float] | None = None) -> Question:
    observations = torch.tensor([[each, 0.0] for each in numbers])
    kept: State = () if states is None else {"steps": torch.tensor(states).unsqueeze(-1)}
    count = len(numbers) // len(samplers)
    return Question(observations, kept, [ActionNoise(each, LENGTH, count) for each in samplers])


def test_one_pass_for_all_who_ask() -> None:
    network, sampler = Linear(), OnPolicy(Categorical(NUM_ACTIONS))
    asked = [question([1, 2], sampler), question([3], sampler), question([4, 5, 6, 7], sampler, sampler)]
    answers = decider(network).decide(asked, VERSION)
    (seen,) = network.seen
    assert seen[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert [each.behaviour[:, 0].tolist() for each in answers] == [[1, 2], [3], [4, 5, 6, 7]]
    assert [list(each.actions.shape) for each in answers] == [[2], [1], [4]]
    assert {each.version for each in answers} == {VERSION}


def test_each_worker_draws_as_its_own_sampler_does() -> None:
    first, second, third = Always(0), Always(1), Always(2)
    asked = [question([0, 0, 0, 0], first, second), question([0, 0], second), question([0, 0], third)]
    answers = decider(Linear()).decide(asked, VERSION)
    assert [each.actions.tolist() for each in answers] == [[0, 0, 1, 1], [1, 1], [2, 2]]
    assert [each.behaviour[:, 0].tolist() for each in answers] == [[0, 0, 1, 1], [1, 1], [2, 2]]
    assert second.shapes == [(LENGTH, 2), (LENGTH, 2)]  # each group for itself: noise may belong to an environment


def test_noise_is_drawn_for_a_whole_trajectory_at_once() -> None:
    """As where a worker acts: a sampler may draw what hangs together in time."""
    sampler = Always(0)
    asked = question([0, 0], sampler)
    found = decider(Linear(), seed=4)
    for _ in range(2 * LENGTH):
        found.decide([asked], VERSION)
    assert sampler.shapes == [(LENGTH, 2), (LENGTH, 2)]
    generator = torch.Generator().manual_seed(4)
    assert sampler.noise_seen == [
        *torch.rand(LENGTH, 2, generator=generator).tolist(),
        *torch.rand(LENGTH, 2, generator=generator).tolist(),
    ]


def test_all_who_act_as_the_policy_says_act_at_once() -> None:
    acts = []

    sampler = OnPolicy(Categorical(NUM_ACTIONS))
    act = sampler.act
    sampler.act = lambda parameters, noise: acts.append(len(parameters)) or act(parameters, noise)  # type: ignore
    decider(Linear()).decide([question([0, 0, 0, 0], sampler, sampler), question([0, 0], sampler)], VERSION)
    assert acts == [6]


def test_draws_differ_from_pass_to_pass_and_follow_from_the_seed() -> None:
    sampler = OnPolicy(Categorical(NUM_ACTIONS))

    def draw() -> list[list[int]]:
        found = decider(Linear())
        return [found.decide([question([0] * 50, sampler)], VERSION)[0].actions.tolist() for _ in range(2)]

    first, second = draw()
    assert first != second
    assert draw() == [first, second]


def test_what_is_remembered_belongs_to_each_environment() -> None:
    network, sampler = Counter(), Always(0)
    found = decider(network)
    asked = [question([1, 2], sampler, states=[0, 7]), question([3, 4], sampler, states=[20, 30])]
    one, other = found.decide(asked, VERSION)
    assert one.state["steps"].flatten().tolist() == [1, 8]
    assert other.state["steps"].flatten().tolist() == [21, 31]
    assert other.behaviour[:, 0].tolist() == [321, 431]
    asked = [
        question([3, 4], sampler, states=other.state["steps"].flatten().tolist()),
        question([1], sampler, states=[1]),
    ]
    again, more = found.decide(asked, VERSION)  # in another order, with others between
    assert again.state["steps"].flatten().tolist() == [22, 32]
    assert more.state["steps"].flatten().tolist() == [2]
