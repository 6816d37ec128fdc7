"""How Atari games are played: the arguments of ale-py's vector of environments.

Machado et al., "Revisiting the Arcade Learning Environment" (2018), section 5: sticky actions, as ale-py has them by
default, and whole games in evaluation. Rewards come as the game gives them, so that reported returns are scores.
"""

from collections.abc import Mapping
from typing import Any

PREFIX = "ALE/"


def is_atari(name: str) -> bool:
    """Whether an environment's id is that of an Atari game."""
    return name.startswith(PREFIX)


def atari_kwargs(kwargs: Mapping[str, Any], *, life_ends: bool) -> dict[str, Any]:
    """Arguments of a vector of games; the user's own win.

    Args:
        life_ends: whether a lost life counts as an end. The game goes on with the next life.
    """
    return {"reward_clipping": False, "life_loss_info": life_ends, **kwargs}


def stack_size(kwargs: Mapping[str, Any]) -> Any:
    """How many frames an observation of ale-py's vector has."""
    return kwargs.get("stack_num", 4)
