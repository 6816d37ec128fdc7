"""The presets that come with marl: settings tuned for one environment and one algorithm."""

import tomllib
from importlib import resources
from typing import Any, NamedTuple

from marl.algorithms.algorithm_class import ALGORITHMS, DEFAULT
from marl.environments.settings import EnvironmentSettings

SLASH = "+"  # of an id such as ALE/Pong-v5, in the name of a file; no id has a plus
# What of [environment] defines the task, whatever learns it: what it is, what is seen of it, when an episode ends and
# when it is solved. The rest brings its numbers to a size that was tuned together with the algorithm.
OF_THE_TASK = ("id", "kwargs", "backend", "ignore", "mask", "life_ends", "solved_return")


class Preset(NamedTuple):
    """One line of ``marl presets``."""

    name: str  # the environment's id
    algorithm: str
    default: bool  # used where no algorithm is named
    solved_return: float
    training: str | None  # how long until solved on 2 cores, as measured; None: not measured


def preset_names() -> list[str]:
    """Names of the presets, each an environment's id."""
    return sorted(
        entry.name.removesuffix(".toml").replace(SLASH, "/")
        for entry in resources.files("marl.presets").iterdir()
        if entry.name.endswith(".toml")
    )


def all_presets() -> list[Preset]:
    """Every preset, sorted by its environment, the default algorithm first."""
    found = []
    for name in preset_names():
        for algorithm in (None, *ALGORITHMS):
            tree = _read(name, algorithm)
            if tree is not None:
                used = tree.get("algorithm", {}).get("name", DEFAULT)
                training = tree.get("measured", {}).get("training")
                found.append(Preset(name, used, algorithm is None, tree["environment"]["solved_return"], training))
    return found


def preset_tree(name: str, algorithm: object) -> dict[str, Any] | None:
    """The settings of a preset; None where there is none of that name.

    Args:
        algorithm: the algorithm that is asked for; None: the preset's own. Where the preset was tuned for another one,
            only what defines the task is kept, and what bounds the cost of its environments.
    """
    own = _read(name, algorithm) if isinstance(algorithm, str) and algorithm in ALGORITHMS else None
    tree = own or _read(name, None)
    if tree is None:
        return None
    if own is not None or algorithm is None or algorithm == tree.get("algorithm", {}).get("name", DEFAULT):
        return tree
    return _without_tuning(tree)


def _without_tuning(tree: dict[str, Any]) -> dict[str, Any]:
    """What of a preset holds for every algorithm."""
    environment = tree["environment"]
    kept = {key: environment[key] for key in OF_THE_TASK if key in environment}
    # Fewer than usual: each is a process, or slow. More than usual are no need of the environment.
    if environment.get("per_worker", EnvironmentSettings.per_worker) < EnvironmentSettings.per_worker:
        kept["per_worker"] = environment["per_worker"]
    evaluation = {"evaluation": tree["evaluation"]} if "evaluation" in tree else {}  # few episodes: for the same reason
    return {"environment": kept, **evaluation}


def _read(name: str, algorithm: str | None) -> dict[str, Any] | None:
    folder = resources.files("marl.presets")
    file = (folder / algorithm if algorithm else folder) / f"{name.replace('/', SLASH)}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
