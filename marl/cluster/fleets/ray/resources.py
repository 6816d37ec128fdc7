"""What a Ray cluster has free, and what a run asks of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from marl.cluster.fleets.ray.settings import RaySettings
from marl.errors import ConfigError


class Asked(NamedTuple):
    """What a run asks for."""

    least: int  # children
    most: int
    bundle: dict[str, float]  # of each, as Ray calls it

    @property
    def cores(self) -> int:
        """Of each child."""
        return int(self.bundle["CPU"])

    def in_words(self, count: int) -> str:
        """Of this number of children."""
        return f"{count} of {_in_words(self.bundle)}"


def free(ray: Any) -> dict[str, dict[str, float]]:
    """What each living node has free, by the node's name; all that it has where Ray does not say."""
    living = {each["NodeID"]: each for each in ray.nodes() if each["Alive"]}
    try:
        from ray._private.state import state

        available = state.available_resources_per_node()
    except Exception:  # no public call tells this by node
        available = {}
    return {
        f"{each['NodeManagerHostname']} ({node[:8]})": dict(available.get(node, each["Resources"]))
        for node, each in living.items()
    }


def asked(settings: RaySettings, nodes: dict[str, dict[str, float]]) -> Asked:
    """What the settings ask for; what they leave open is as much as there is room for.

    Raises:
        ConfigError: they name no number, and there is room for none.
    """
    more = {**({"GPU": settings.gpus} if settings.gpus else {}), **settings.resources}
    room = sorted(
        (int(has.get("CPU", 0)) for has in nodes.values() if all(has.get(name, 0) >= more[name] for name in more)),
        reverse=True,
    )
    fitting = [cores for cores in room if cores >= max(1, settings.cores)]
    least, most = settings.nodes
    if not least:
        if not fitting:
            wanted = _in_words({"CPU": max(1, settings.cores), **more})
            raise ConfigError(f"--ray: expected a node with {wanted} free, got {free_in_words(nodes)}")
        least = most = len(fitting)
    cores = settings.cores or max(1, fitting[: max(1, least)][-1] if fitting else 1)
    return Asked(least, most, {"CPU": float(cores), **more})


def free_in_words(nodes: dict[str, dict[str, float]]) -> str:
    """What there is, for the user."""
    known = ("CPU", "GPU")
    parts = []
    for name, has in sorted(nodes.items()):
        own = {each: amount for each, amount in has.items() if each in known or not _is_rays_own(each)}
        parts.append(f"{name} {_in_words(own) or 'nothing'}")
    return "; ".join(parts) or "no node at all"


def _is_rays_own(name: str) -> bool:
    return name in ("memory", "object_store_memory") or name.startswith(("node:", "bundle_")) or "_group_" in name


def _in_words(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
