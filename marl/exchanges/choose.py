"""Which classes an exchange's name stands for."""

from collections.abc import Callable

from marl.data.shared import SharedBlock
from marl.exchanges.base import Serving
from marl.exchanges.experience.child import ExperienceChild
from marl.exchanges.merging.parent import MergingParent
from marl.exchanges.observations.child import ObservationsChild
from marl.exchanges.pairwise.child import PairwiseChild
from marl.exchanges.pairwise.parent import PairwiseParent
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.weights.child import WeightsChild
from marl.exchanges.weights.parent import WeightsParent


def make_child_side(
    block: SharedBlock,
    settings: ExchangeSettings,
    *,
    name: str,
    normalizes: bool,
    deterministic: bool,
    restarts: Callable[[], int],
    note: Callable[[str], None],
) -> Serving:
    """What a child runs, over its node's memory."""
    if settings.name == "experience":
        return ExperienceChild(
            block, name=name, normalizes=normalizes, packs=settings.zstd, restarts=restarts, note=note
        )
    if settings.name == "observations":
        return ObservationsChild(block, name=name, restarts=restarts, note=note)
    return child_side(settings)(
        block,
        settings,
        name=name,
        normalizes=normalizes,
        deterministic=deterministic,
        restarts=restarts,
        note=note,
    )


def child_side(settings: ExchangeSettings) -> type[WeightsChild]:
    """What a child runs whose parent merges weights."""
    return PairwiseChild if settings.name == "pairwise" else WeightsChild


def parent_side(settings: ExchangeSettings) -> type[MergingParent]:
    """What a parent runs that merges weights."""
    return PairwiseParent if settings.name == "pairwise" else WeightsParent
