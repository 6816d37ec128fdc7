"""What a parent needs to act for its children: the newest weights in a network, samplers by rank, streams of steps."""

import threading
from typing import Any

import torch

from marl.acting.decide import Decider, Decision, Question, state_size
from marl.acting.streams import Stream
from marl.algorithms.build import build_network
from marl.cluster.experience import request_layout
from marl.cluster.learner import LearnerNode
from marl.cluster.parts import make_sampler
from marl.config.settings import Config
from marl.data import seeds
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.exchanges.experience.parent import ExperienceParent
from marl.exchanges.observations.batcher import Batcher
from marl.exchanges.observations.parent import ObservationsParent, Places
from marl.networks.sampling import OnPolicy, Rank, Sampler
from marl.training.flat import flatten


def make_learning_side(
    config: Config, spaces: Spaces, learner: LearnerNode, *, children: int, **facts: Any
) -> ExperienceParent:
    """The parent's half of an exchange that has a learner.

    Args:
        children: how many there are to be.
        facts: as for ``ExperienceParent``.
    """
    kind = ObservationsParent if config.exchange.name == "observations" else ExperienceParent
    facts |= {"children": children, "batch": config.exchange.batch, "unpacks": config.exchange.zstd}
    side = kind(learner.inbox, learner.published, learner.layout, len(learner.flat.weights), **facts)
    if isinstance(side, ObservationsParent):
        _prepare(side, config, spaces, learner, children)
    return side


def _prepare(side: ObservationsParent, config: Config, spaces: Spaces, learner: LearnerNode, children: int) -> None:
    algorithm = config.algorithm
    network = build_network(algorithm, spaces, config.network)
    flat = flatten(network)
    desks = request_layout(config, spaces)
    moving = threading.Lock()  # the weights while they are exchanged
    held = -1

    def refresh() -> int:
        nonlocal held
        if learner.published.version() != held:
            with moving:
                held = learner.published.read(flat.weights)
        return held

    def stream() -> Stream:
        return Stream(
            length=algorithm.t_max,
            environments=desks.num_environments,
            observation=spaces.observation(normalized=config.environment.normalize_observations),
            action=spaces.action,
            num_parameters=network.distribution.num_parameters,  # type: ignore[union-attr, arg-type]
            state_size=state_size(network),
            reward_scale=config.environment.reward_scale,
        )

    usual = OnPolicy(network.distribution)  # type: ignore[arg-type]

    def sampler(child: int, worker: int, workers: int) -> Sampler:
        made = make_sampler(config, algorithm, network, Rank.among(worker, workers, child, children))
        return usual if type(made) is OnPolicy else made  # who acts alike acts at once

    def priorities(trajectory: Trajectory) -> torch.Tensor | None:
        if algorithm.learns_from != "transitions":
            return None
        with moving:
            return algorithm.transitions(network, trajectory)[1]

    place = {"child": 0, "worker": 0, "segment": seeds.first_segment(side.epoch)}
    sequence = seeds.stream(config.seed or 0, purpose=seeds.DECISIONS, **place)
    decider = Decider(network, refresh, torch.Generator().manual_seed(seeds.integer(sequence)))

    settings = config.exchange
    batcher: Batcher[Question, Decision] = Batcher(
        decider.decide,
        most=settings.inference_batch,
        wait_s=1e-6 * settings.inference_wait_us,
        crowd=side.num_live,
    )
    side.begin(desks, Places(stream, sampler, priorities), batcher, algorithm.t_max)
