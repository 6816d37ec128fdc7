"""Which classes an exchange's name stands for."""

from marl.exchanges.pairwise import PairwiseChild, PairwiseParent
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.weights_child import WeightsChild
from marl.exchanges.weights_parent import WeightsParent


def child_side(settings: ExchangeSettings) -> type[WeightsChild]:
    """What a child runs."""
    return PairwiseChild if settings.name == "pairwise" else WeightsChild


def parent_side(settings: ExchangeSettings) -> type[WeightsParent]:
    """What the parent runs."""
    return PairwiseParent if settings.name == "pairwise" else WeightsParent
