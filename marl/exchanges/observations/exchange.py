"""The observations exchange: children upload observations, the parent chooses actions and learns."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from marl.data.layout import Layout, Tree, flat
from marl.data.requests import GROUPS, RequestLayout, request_fields
from marl.data.shared import memory_bytes
from marl.data.spaces import Spaces
from marl.exchanges.base import ChildFacts, Exchange, ParentFacts, Worker
from marl.exchanges.experience.exchange import Experience
from marl.exchanges.observations.settings import PER_MESSAGE
from marl.exchanges.observations.transfer import most_bytes, sent_layout
from marl.exchanges.part import demand
from marl.exchanges.run import RunSettings
from marl.exchanges.sides import LearningSide, Serving


@dataclass(frozen=True)
class Observations(Experience):
    """Workers only step environments. The parent puts trajectories together, for a learner as in ``Experience``."""

    at_once: ClassVar[bool] = True

    name: str = "observations"

    def rules(self, run: RunSettings) -> None:
        """See ``Exchange``."""
        super().rules(run)
        environment = run.environment
        demand(
            environment.per_worker % 2 == 0, "environment.per_worker",
            f"an even number with exchange.name = {self.name!r}: two groups take turns", environment.per_worker,
        )  # fmt: skip
        demand(
            not environment.normalize_rewards, "environment.normalize_rewards",
            f"false with exchange.name = {self.name!r} (use environment.reward_scale)", environment.normalize_rewards,
        )  # fmt: skip
        demand(
            not run.exploration.novelty, "exploration.novelty",
            f"0 with exchange.name = {self.name!r}: children there learn nothing", run.exploration.novelty,
        )  # fmt: skip
        demand(self.inference_batch >= 1, "exchange.inference_batch", "at least 1", self.inference_batch)
        demand(self.inference_wait_us >= 0, "exchange.inference_wait_us", "0 or more", self.inference_wait_us)

    def demand_rounds(self) -> None:
        """See ``Exchange``: it has none."""
        Exchange.demand_rounds(self)

    def rows(self, run: RunSettings) -> int:
        """Environments [B] of one group."""
        return run.environment.per_worker // GROUPS

    def requests(self, run: RunSettings, spaces: Spaces) -> RequestLayout:
        """The layout of one request: what one group of environments returned. The parent normalises observations."""
        return RequestLayout(
            environments=self.rows(run),
            observation=flat(spaces.raw) if run.environment.normalize_observations else spaces.observation(),
            action=spaces.action,
        )

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        """See ``Exchange``."""
        return request_fields(self.requests(run, spaces), workers)

    def payload(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> Layout:
        """See ``Exchange``."""
        return sent_layout(self.requests(run, spaces))

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        """See ``Exchange``. The larger of two messages: observations up, or actions down."""
        requests = self.requests(run, spaces)
        return PER_MESSAGE * max(most_bytes(requests), memory_bytes({"actions": requests.actions}))

    def work(self, worker: Worker) -> None:
        """Step environments."""
        from marl.exchanges.observations.stepping import step

        step(worker, lambda spaces: self.requests(worker.run, spaces))

    def child(self, facts: ChildFacts) -> Serving:
        """See ``Exchange``."""
        from marl.exchanges.observations.child import ObservationsChild

        layout = self.requests(facts.run, facts.spaces)
        return ObservationsChild(facts.block, layout, name=facts.name, restarts=facts.restarts, note=facts.note)

    def parent(self, facts: ParentFacts) -> LearningSide:
        """See ``Exchange``."""
        from marl.exchanges.observations.deciding import prepare
        from marl.exchanges.observations.parent import ObservationsParent

        side = self.learning_side(ObservationsParent, facts)
        prepare(side, self, self.requests(facts.run, facts.spaces), facts)
        return side
