"""The experience exchange: children upload trajectories, a learner at the parent learns from them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from torch import nn

from marl.algorithms.base import Algorithm, demand_off_policy
from marl.data.layout import Layout, Tree
from marl.data.node.send_queue import SendQueue, send_queue_fields
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.exchanges.base import ChildFacts, Exchange, ParentFacts, Worker
from marl.exchanges.experience.lockstep import PartRest
from marl.exchanges.experience.settings import PER_MESSAGE
from marl.exchanges.part import demand
from marl.exchanges.run import RunSettings, replay_ratio
from marl.exchanges.sides import LearningSide, Serving
from marl.training.minibatches import HandedOn
from marl.wire.zstandard import demand_zstd

if TYPE_CHECKING:
    from marl.exchanges.experience.parent import ExperienceParent

Side = TypeVar("Side", bound="ExperienceParent")


@dataclass(frozen=True)
class Experience(Exchange):
    """Actors play, one learner learns."""

    learner: ClassVar[bool] = True

    name: str = "experience"

    def rules(self, run: RunSettings) -> None:
        """See ``Exchange``."""
        demand(self.batch >= 1, "exchange.batch", "at least 1", self.batch)
        demand(self.queue >= self.batch, "exchange.queue", "at least exchange.batch", self.queue)
        demand(self.max_staleness >= 0, "exchange.max_staleness", "0 or more", self.max_staleness)
        if run.deterministic:
            raise ConfigError("deterministic = true needs exchange.name = 'weights': a queue's order depends on time")
        demand_off_policy(run.algorithm, f"exchange.name = {self.name!r}", "use 'weights'")
        ratio = replay_ratio(run)
        if ratio and self.batch > 1:
            raise ConfigError(f"replay.ratio = {ratio:g} needs exchange.batch = 1, got {self.batch}")
        self.demand_mean("children upload no weights")

    def demand_rounds(self) -> None:
        """See ``Exchange``: actors and learner keep in step."""

    def demand_packages(self) -> None:
        """See ``Exchange``."""
        if self.zstd:
            demand_zstd()

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        """See ``Exchange``. The send queue, into which workers put trajectories for the learner."""
        return send_queue_fields(self.layout(run, spaces, network), workers)

    def payload(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> Layout:
        """See ``Exchange``."""
        return self.layout(run, spaces, network)

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        """See ``Exchange``."""
        return PER_MESSAGE * self.layout(run, spaces, network).num_bytes

    def work(self, worker: Worker) -> None:
        """Play, and put every trajectory into the send queue."""

        def handed_on(algorithm: Algorithm, network: nn.Module, spaces: Spaces) -> HandedOn:
            layout = self.layout(worker.run, spaces, network)
            return HandedOn(algorithm, network, SendQueue(worker.block, worker.number, layout))

        if worker.busy is None:
            worker.learn(minibatches=handed_on)
        else:
            worker.learn(minibatches=handed_on, rest=PartRest(worker.block, worker.number))

    def child(self, facts: ChildFacts) -> Serving:
        """See ``Exchange``."""
        from marl.exchanges.experience.child import ExperienceChild
        from marl.exchanges.experience.lockstep_child import LockstepChild

        return (LockstepChild if facts.virtual else ExperienceChild)(
            facts.block,
            name=facts.name,
            normalizes=facts.normalizes,
            packs=self.zstd,
            restarts=facts.restarts,
            note=facts.note,
        )

    def parent(self, facts: ParentFacts) -> LearningSide:
        """See ``Exchange``."""
        from marl.exchanges.experience.lockstep_parent import LockstepParent
        from marl.exchanges.experience.parent import ExperienceParent

        if facts.timer is None:
            return self.learning_side(ExperienceParent, facts)
        side = self.learning_side(LockstepParent, facts)
        side.begin(facts.timer, children=facts.children, batch=self.batch)
        return side

    def learning_side(self, kind: type[Side], facts: ParentFacts) -> Side:
        """The parent's side, as an object of the class ``kind``."""
        assert facts.learner is not None
        return kind(
            *facts.learner,
            facts.weights.numel(),
            name=facts.name,
            children=facts.children,
            batch=self.batch,
            unpacks=self.zstd,
            observation_size=facts.observation_size,
            statistics=facts.statistics,
            sample=facts.sample,
            term=facts.term,
            steps=facts.steps,
            hear=facts.hear,
            note=facts.note,
        )
