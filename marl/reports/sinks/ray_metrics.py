"""Gauges in the metrics of a Ray cluster, for runs whose process belongs to one."""

import math
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from marl.reports.events import ChildRow, Ended, Event, Progress, Status
from marl.reports.sinks.sink import Facts

GAUGES = {
    "steps": "Environment steps so far",
    "episodes": "Episodes that have ended",
    "updates": "Updates of the weights",
    "steps_per_second": "Environment steps a second",
    "return_mean": "Mean return of the episodes in the window",
    "speedup": "Measured speed-up against the best machine alone",
}
CHILD_GAUGES = {
    "steps_per_second": "Environment steps a second of one child",
    "version": "Version of the weights that a child has",
    "bytes_per_second": "Bytes a second on the link of one child, up and down",
    "round_trip": "Seconds for a message to a child and its answer",
}


class RayMetrics:
    """Sets ``marl_...`` gauges with the tag ``run``, which Ray's dashboard and Prometheus show; those of a child have
    the tag ``child``, and those of the algorithm the tag ``metric``. Outside a Ray cluster it does nothing.
    """

    def begin(self, facts: Facts) -> None:
        """Gauges are made when there is something to set: the cluster may be met only then."""
        self._run = Path(facts.folder).name
        self._gauges: dict[str, Any] = {}
        self._children: Sequence[ChildRow] = ()
        self._seen: set[str] = set()  # addresses of children

    def on(self, event: Event) -> None:
        """Set them at every status."""
        if isinstance(event, Progress):
            self._children = event.children
        elif isinstance(event, (Status, Ended)) and (ray := _in_cluster()) is not None:
            self._tell(ray, event)

    def close(self) -> None:
        """What was set stays until this process leaves the cluster."""

    def _tell(self, ray: Any, event: Status | Ended) -> None:
        if isinstance(event, Ended):  # nothing is played any more
            for name in ("steps_per_second", "children"):
                self._set(ray, name, GAUGES.get(name, "Children that take part"), 0.0)
            return
        for name, text in GAUGES.items():
            self._set(ray, name, text, getattr(event, name))
        for name, value in event.metrics.items():
            self._set(ray, "metric", "A metric of the algorithm", value, {"metric": name})
        here = {each.address: each for each in self._children if each.steps_per_second is not None}
        self._set(ray, "children", "Children that take part", float(len(here)))
        self._seen |= set(here)
        for address in self._seen:
            for name, text in CHILD_GAUGES.items():
                value = getattr(here[address], name) if address in here else 0.0
                self._set(ray, f"child_{name}", text, value, {"child": address})

    def _set(self, ray: Any, name: str, text: str, value: float | None, tags: Mapping[str, str] | None = None) -> None:
        if value is None or not math.isfinite(value):
            return
        tags = {"run": self._run, **(tags or {})}
        if name not in self._gauges:
            self._gauges[name] = ray.util.metrics.Gauge(f"marl_{name}", description=text, tag_keys=tuple(tags))
        self._gauges[name].set(value, tags=tags)


def _in_cluster() -> Any:
    """Ray, where this process belongs to a cluster; a program that has not loaded it does not."""
    ray = sys.modules.get("ray")
    if ray is None or not getattr(ray, "is_initialized", bool)():
        return None
    import_module("ray.util.metrics")
    return None if ray.util.client.ray.is_connected() else ray  # a client far away has no metrics of its own
