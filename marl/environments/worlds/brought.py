"""Ids of gymnasium that other packages bring."""

import importlib

import gymnasium

from marl.environments.worlds import retro, sumo
from marl.environments.worlds.atari import PREFIX, quiet
from marl.errors import MissingExtra

BROUGHT = {  # how ids begin that a package brings: its module, its own name, our extra
    PREFIX: ("ale_py", "ale-py", "atari"),
    "MiniGrid-": ("minigrid", "minigrid", "minigrid"),
    "BabyAI-": ("minigrid", "minigrid", "minigrid"),
    "Vizdoom": ("vizdoom.gymnasium_wrapper", "ViZDoom", "vizdoom"),
    retro.PREFIX: ("stable_retro", "stable-retro", "retro"),
    sumo.NAME: ("libsumo", "SUMO", "sumo"),
}


def register(identifier: str) -> None:
    """Let the package that brings an id say so to gymnasium; where it does not know gymnasium, we say so.

    Raises:
        MissingExtra: it is not installed.
        EnvironmentFault: it has nothing of that name.
    """
    for begin, (module, package, extra) in BROUGHT.items():
        if identifier.startswith(begin) or (package == "ale-py" and "NoFrameskip" in identifier):
            try:
                brings = importlib.import_module(module)
                gymnasium.register_envs(brings)
            except ImportError as error:
                raise MissingExtra(package, extra, identifier) from error
            if begin == PREFIX:
                quiet(brings)
            if begin == retro.PREFIX:
                retro.register(identifier)
            elif begin == sumo.NAME:
                sumo.register()
