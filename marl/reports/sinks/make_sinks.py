"""Which sinks a run has: those of marl by name, a user's own by import path."""

from collections.abc import Sequence
from importlib import import_module

from marl.errors import ConfigError
from marl.reports.sinks.own_sink import own_sink
from marl.reports.sinks.sink import Sink

# The later ones end later: they are told what became of the others.
SINKS = {
    "tensorboard": "marl.reports.sinks.tensorboard:TensorBoard",
    "metrics": "marl.reports.sinks.metrics:Metrics",
    "ray": "marl.reports.sinks.ray_metrics:RayMetrics",
    "terminal": "marl.reports.sinks.terminal:Terminal",
    "events": "marl.reports.sinks.events:EventLines",
}
TELLING = ("terminal", "events")  # those that tell what became of the others


def demand_names(names: Sequence[str]) -> None:
    """Refuse names that no sink can have; nothing is imported.

    Raises:
        ConfigError: there is one.
    """
    for name in names:
        if name not in SINKS and ":" not in name:
            raise ConfigError(
                f"report.sinks: expected some of {', '.join(SINKS)}, or your own package.module:Class, got {name!r:.80}"
            )
        if names.count(name) > 1:
            raise ConfigError(f"report.sinks: expected each once, got {name!r:.80} twice")


def make_sinks(names: Sequence[str]) -> dict[str, Sink]:
    """A sink for each name, in the order in which they are to end.

    Raises:
        PluginError: one cannot be made, or is none.
    """
    own = {name: own_sink(name) for name in names if name not in SINKS}
    return own | {name: getattr(import_module(path.partition(":")[0]), path.partition(":")[2])()
                  for name, path in SINKS.items() if name in names}  # fmt: skip
