"""Both halves of the observations exchange without processes: a test steps the environments and moves the messages."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces as gym_spaces
from torch import Tensor

from marl.acting.decide import Answers, Decider, Question
from marl.acting.streams import Stream
from marl.data.layout import Layout, Leaf
from marl.data.node.memory import node_memory
from marl.data.node.trajectory_queue import BACK, SEEN, Published, TrajectoryQueue, trajectory_queue_fields
from marl.data.normalizer import RunningStatistics
from marl.data.preprocess import Preprocess
from marl.data.replay.rollout import rollout_tree, unpack
from marl.data.requests import ANSWERED, ASKED, BEGUN, RequestLayout, request_fields
from marl.data.trajectory import Trajectory
from marl.environments.describe import describe
from marl.exchanges.observations.batcher import Batcher
from marl.exchanges.observations.child import ObservationsChild
from marl.exchanges.observations.parent import ObservationsParent, Places
from marl.exchanges.sides import Answer
from marl.networks.contract import Acts, Decision, State, Stateless, state_tree
from marl.networks.distributions import Categorical
from marl.networks.sampling import OnPolicy
from marl.wire.message import Kind, Message
from tests.exchanges.nodes import carried

ENVIRONMENTS, SIZE, NUM_ACTIONS, LENGTH = 2, 3, 4, 3
SPACES = describe(gym_spaces.Box(-1, 1, (SIZE,)), gym_spaces.Discrete(NUM_ACTIONS))
OBSERVATION, ACTION = Leaf((SIZE,), torch.float32), Leaf((), torch.int64, (NUM_ACTIONS,))


def layout() -> RequestLayout:
    return RequestLayout(environments=ENVIRONMENTS, observation=OBSERVATION, action=ACTION)


def rollouts(length: int = LENGTH, network: Acts | None = None) -> Layout:
    return Layout(
        rollout_tree(
            length=length,
            environments=ENVIRONMENTS,
            observation=OBSERVATION,
            action=ACTION,
            num_parameters=NUM_ACTIONS,
            state=() if network is None else state_tree(network),
        )
    )


class Sure:
    """Is sure of the action that the first number of an observation names, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.distribution = Categorical(NUM_ACTIONS)
        self.calls: list[tuple[Tensor, Tensor]] = []

    def initial_state(self, rows: int) -> State:
        return torch.zeros(rows, 1)

    def step(self, observations: Tensor, state: State) -> Decision:
        self.calls.append((observations.clone(), state.clone()))
        chosen = observations[:, 0].long() % NUM_ACTIONS
        return Decision(1e6 * torch.nn.functional.one_hot(chosen, NUM_ACTIONS).float(), None, state + 1)


class Child:
    """A child's side, and what its workers would do."""

    def __init__(self, name: str = "child", workers: int = 2, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.name = name
        self.block = node_memory(
            num_weights=1, num_parameters=1, observation_size=1, workers=workers, more=request_fields(layout(), workers)
        )
        self.notes: list[str] = []
        self.side = ObservationsChild(self.block, layout(), name=name, note=self.notes.append, clock=clock)
        self.side.joined()
        self.counts = self.block["request_counts"].numpy()
        self.requests = [layout().open(each.numpy()) for each in self.block["requests"].unbind()]

    def ask(self, worker: int, group: int, seen: float, *, first: bool = False, **fields: Any) -> int:
        """A group's environments have answered: all with ``seen`` as their first number; the question's number."""
        request = {name: field[group] for name, field in self.requests[worker].items()}
        counts = self.counts[worker, group]
        question = int(counts[ASKED]) + 1
        counts[BEGUN] = question
        request["observations"][:] = [[seen, worker, group]] * ENVIRONMENTS
        request["rewards"][:] = seen
        request["ends"][:] = np.array([[0], [0], [not first]])
        for name, value in fields.items():
            request[name][:] = value
        request["header"][:5] = worker, group, question, first, 0
        counts[ASKED] = question
        return question

    def answered(self, worker: int, group: int) -> list[int] | None:
        """The actions for the newest question; None while there are none."""
        counts = self.counts[worker, group]
        if counts[ANSWERED] != counts[ASKED]:
            return None
        actions: list[int] = self.block["request_actions"][worker, group].tolist()
        return actions

    def uploads(self) -> list[Message]:
        """What it would send now, but for reports; whole, as the next one is copied to the same place."""
        found = []
        for each in self.side.outgoing():
            if each.kind is Kind.UPLOAD:
                requests = each.arrays["requests"]
                assert isinstance(requests, Tensor)
                found.append(each._replace(arrays={"requests": requests.clone()}))
        return found

    def take(self, answer: Answer | None) -> None:
        """An answer arrives."""
        assert answer is not None
        self.side.accept(carried(answer.message, self.side.receive_buffers, answer.digest))


class Parent:
    """A parent's side with a network that a test knows, and a learner's queue that a test empties."""

    def __init__(
        self,
        network: Acts | None = None,
        *,
        queue: int = 8,
        length: int = LENGTH,
        normalizes: bool = False,
        sample: RunningStatistics | None = None,
        batcher: Callable[..., Batcher[Question, Answers]] = Batcher,
    ) -> None:
        self.network = network or Sure()
        self.layout = rollouts(length, self.network)
        self.block = node_memory(
            num_weights=1,
            num_parameters=1,
            observation_size=SIZE,
            workers=1,
            more=trajectory_queue_fields(self.layout, queue, 1),
        )
        self.notes: list[str] = []
        self.version = 0
        self.side = ObservationsParent(
            TrajectoryQueue(self.block),
            Published(self.block),
            self.layout,
            1,
            name="parent",
            observation_size=SIZE if normalizes else 0,
            sample=sample,
            note=self.notes.append,
        )
        decider = Decider(self.network, torch.Generator().manual_seed(1))
        sampler = OnPolicy(Categorical(NUM_ACTIONS))
        self.placed: list[tuple[int, int, int]] = []  # whom a sampler was made for

        def made(*place: int) -> OnPolicy:
            self.placed.append(place)  # type: ignore[arg-type]
            return sampler

        places = Places(lambda: stream(self.network, length), made, lambda trajectory: None, Preprocess(SPACES))
        self.batcher = batcher(
            lambda asked: decider.decide(asked, self.version), most=64, wait_s=0.0, crowd=self.side.num_live
        )
        self.side.begin(layout(), places, self.batcher, length)

    def join(self, child: Child) -> None:
        child.take(self.side.join(child.name))

    def answer(self, upload: Message) -> Answer | None:
        """An upload arrives."""
        child = upload.sender
        return self.side.answer(child, carried(upload, lambda header: self.side.receive_buffers(child, header)))

    def queued(self) -> list[Trajectory]:
        """Trajectories that wait for the learner, oldest first."""
        put, taken = int(self.block["trajectory_queue_put"][0]), int(self.block["trajectory_queue_taken"][SEEN])
        order = self.block["trajectory_queue_order"]
        numbers = [int(order[place % len(order)]) for place in range(taken, put)]
        return [unpack(self.layout.open(self.block["trajectory_queue"][number]))[0] for number in numbers]

    def learn(self, count: int = 1) -> None:
        """The learner takes so many."""
        order, back, taken = (
            self.block["trajectory_queue_order"],
            self.block["trajectory_queue_back"],
            self.block["trajectory_queue_taken"],
        )
        for _ in range(count):
            back[int(taken[BACK]) % len(back)] = order[int(taken[SEEN]) % len(order)]
            taken[SEEN] += 1
            taken[BACK] += 1


def stream(network: Acts, length: int = LENGTH) -> Stream:
    return Stream(
        length=length,
        environments=ENVIRONMENTS,
        observation=OBSERVATION,
        action=ACTION,
        network=network,
        reward_scale=1.0,
    )


def everyone_asks(child: Child, seen: float, *, first: bool = False) -> None:
    for worker in range(len(child.requests)):
        for group in range(2):
            child.ask(worker, group, seen, first=first)


PATIENCE_S = 20.0


EVERYBODY = [(worker, group) for worker in range(2) for group in range(2)]


class Blind(Stateless):
    """The same parameters whatever it sees; remembers what it saw."""

    distribution = Categorical(NUM_ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def policy(self, observations: Tensor) -> Tensor:
        self.seen.append(observations.clone())
        return torch.zeros(len(observations), NUM_ACTIONS)


def joined(**options: Any) -> tuple[Parent, Child]:
    parent, child = Parent(**options), Child()
    parent.join(child)
    return parent, child


def turn(parent: Parent, child: Child) -> None:
    """Everything that is asked is answered."""
    for upload in child.uploads():
        child.take(parent.answer(upload))


def play(parent: Parent, child: Child, seen: float, worker: int = 0, group: int = 0) -> None:
    child.ask(worker, group, seen)
    turn(parent, child)
