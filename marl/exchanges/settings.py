"""The settings ``exchange.*``: those of all exchanges that come with marl, in one class."""

from dataclasses import dataclass

from marl.exchanges.experience.settings import ExperienceSettings
from marl.exchanges.gradients.settings import GradientsSettings
from marl.exchanges.merging.settings import MergingSettings
from marl.exchanges.observations.settings import ObservationsSettings
from marl.exchanges.pairwise.settings import PairwiseSettings
from marl.exchanges.weights.settings import WeightsSettings


@dataclass(frozen=True)
class ExchangeSettings(
    ObservationsSettings, ExperienceSettings, MergingSettings, PairwiseSettings, GradientsSettings, WeightsSettings
):
    """How parent and children share one policy; without children most of it is not used.

    In files and messages, the fields have the order of the base classes, from the last to the first.
    """
