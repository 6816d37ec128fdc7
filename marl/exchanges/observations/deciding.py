"""What a parent needs to act for its children: the newest weights in a network, samplers by rank, streams of steps."""

import threading
from typing import cast

import torch

from marl import seeds
from marl.acting.burn_in import BurnIn
from marl.acting.decide import Answers, Decider, Question
from marl.acting.streams import Stream
from marl.algorithms.build import build_network, make_sampler
from marl.data.preprocess import Preprocess
from marl.data.requests import RequestLayout
from marl.data.trajectory import Trajectory
from marl.exchanges.base import ParentFacts
from marl.exchanges.observations.batcher import Batcher
from marl.exchanges.observations.parent import ObservationsParent, Places
from marl.exchanges.settings import ExchangeSettings
from marl.networks.contract import Acts
from marl.networks.sampling import OnPolicy, Rank, Sampler
from marl.training.flat import flatten


def prepare(side: ObservationsParent, settings: ExchangeSettings, requests: RequestLayout, facts: ParentFacts) -> None:
    """Give the parent's side what it needs to choose actions."""
    assert facts.learner is not None
    run, spaces, published = facts.run, facts.spaces, facts.learner.published
    algorithm = run.algorithm
    network = build_network(algorithm, spaces, run.network)  # a second one: files are written with the run's
    acts, flat = cast(Acts, network), flatten(network)
    moving = threading.Lock()  # guards the network while its weights are replaced
    held = -1

    def refresh() -> int:
        """Put the newest weights into the network; their version."""
        nonlocal held
        if published.version() != held:
            with moving:
                held = published.read(flat.weights)
        return held

    overlap = algorithm.overlap()

    def stream() -> Stream:
        return Stream(
            length=algorithm.t_max,
            environments=requests.num_environments,
            observation=spaces.observation(normalized=run.environment.normalize_observations),
            action=spaces.action,
            network=acts,
            reward_scale=run.environment.reward_scale,
            reward_clip=run.environment.reward_clip,
            burn_in=BurnIn(acts, overlap, moving) if overlap else None,
        )

    usual = OnPolicy(acts.distribution)

    def sampler(child: int, worker: int, workers: int) -> Sampler:
        made = make_sampler(algorithm, run.exploration, network, Rank.among(worker, workers, child, facts.children))
        # Workers that sample alike share one object: then their actions are drawn together.
        return usual if type(made) is OnPolicy else made

    def priorities(trajectory: Trajectory) -> torch.Tensor | None:
        if not algorithm.from_transitions:
            return None
        with moving:
            return algorithm.transitions(network, trajectory)[1]

    place = {"child": 0, "worker": 0, "interval": seeds.first_interval(side.term)}
    sequence = seeds.stream(run.seed or 0, purpose=seeds.DECISIONS, **place)
    decider = Decider(acts, torch.Generator().manual_seed(seeds.integer(sequence)))

    def serve(questions: list[Question]) -> list[Answers]:
        return decider.decide(questions, refresh())

    batcher: Batcher[Question, Answers] = Batcher(
        serve,
        most=settings.inference_batch,
        wait_s=1e-6 * settings.inference_wait_us,
        crowd=side.num_live,
    )
    side.begin(requests, Places(stream, sampler, priorities, Preprocess(spaces)), batcher, algorithm.t_max)
