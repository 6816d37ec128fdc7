"""How Atari games are played: the arguments of ale-py's vector of environments.

Machado et al., "Revisiting the Arcade Learning Environment" (2018), section 5: sticky actions, as ale-py has them by
default, and whole games in evaluation. Rewards come as the game gives them, so that reported returns are scores.
"""

import re
from collections.abc import Mapping
from typing import Any

import gymnasium

from marl.environments.settings import EnvironmentSettings

PREFIX = "ALE/"


def is_atari(name: str) -> bool:
    """Whether an environment's id is that of an Atari game."""
    return name.startswith(PREFIX)


def old_id_note(settings: EnvironmentSettings) -> str | None:
    """What to say of an old id of a game, such as PongNoFrameskip-v4; None of any other."""
    identifier = settings.id.rpartition(":")[2]
    spec = gymnasium.registry.get(identifier)
    if spec is None or not str(spec.entry_point).startswith("ale_py") or is_atari(identifier):
        return None
    game = re.sub(r"(NoFrameskip|Deterministic)?-v\d+$", "", identifier)
    return (
        f"{identifier} shows raw pictures, one at a time and in colour: use {PREFIX}{game}-v5, whose observations are "
        "the last four grey pictures of 84 x 84 pixels"
    )


def quiet(ale_py: Any) -> None:
    """No banner of the emulator's for each game."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


def atari_kwargs(kwargs: Mapping[str, Any], *, life_ends: bool) -> dict[str, Any]:
    """Arguments of a vector of games; the user's own win.

    Args:
        life_ends: whether a lost life counts as an end. The game goes on with the next life.
    """
    return {"reward_clipping": False, "life_loss_info": life_ends, **kwargs}


def stack_size(kwargs: Mapping[str, Any]) -> Any:
    """How many frames an observation of ale-py's vector has."""
    return kwargs.get("stack_num", 4)
