"""How Atari games are played: the arguments of ale-py's vector of environments.

Machado et al., "Revisiting the Arcade Learning Environment" (2018), section 5: sticky actions, as ale-py has them by
default, and whole games in evaluation. Rewards come as the game gives them, so that reported returns are scores.
"""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium

from marl.environments.settings import EnvironmentSettings

PREFIX = "ALE/"
# All that ale-py 0.12 has for one player, but Blackjack, which gymnasium has too: known without installing it.
GAMES = (
    "Adventure", "AirRaid", "Alien", "Amidar", "Assault", "Asterix", "Asteroids", "Atlantis", "Atlantis2", "Backgammon",
    "BankHeist", "BasicMath", "BattleZone", "BeamRider", "Berzerk", "Bowling", "Boxing", "Breakout",
    "Carnival", "Casino", "Centipede", "ChopperCommand", "CrazyClimber", "Crossbow", "Darkchambers", "Defender",
    "DemonAttack", "DonkeyKong", "DoubleDunk", "Earthworld", "ElevatorAction", "Enduro", "Entombed", "Et",
    "FishingDerby", "FlagCapture", "Freeway", "Frogger", "Frostbite", "Galaxian", "Gopher", "Gravitar", "Hangman",
    "HauntedHouse", "Hero", "HumanCannonball", "IceHockey", "Jamesbond", "JourneyEscape", "Kaboom", "Kangaroo",
    "KeystoneKapers", "KingKong", "Klax", "Koolaid", "Krull", "KungFuMaster", "LaserGates", "LostLuggage", "MarioBros",
    "MiniatureGolf", "MontezumaRevenge", "MrDo", "MsPacman", "NameThisGame", "Othello", "Pacman", "Phoenix", "Pitfall",
    "Pitfall2", "Pong", "Pooyan", "PrivateEye", "Qbert", "Riverraid", "RoadRunner", "Robotank", "Seaquest",
    "SirLancelot", "Skiing", "Solaris", "SpaceInvaders", "SpaceWar", "StarGunner", "Superman", "Surround", "Tennis",
    "Tetris", "TicTacToe3D", "TimePilot", "Trondead", "Turmoil", "Tutankham", "UpNDown", "Venture", "VideoCheckers",
    "VideoChess", "VideoCube", "VideoPinball", "WizardOfWor", "WordZapper", "YarsRevenge", "Zaxxon",
)  # fmt: skip


def is_atari(name: str) -> bool:
    """Whether an environment's id is that of an Atari game."""
    return name.startswith(PREFIX)


def old_id_note(settings: EnvironmentSettings) -> str | None:
    """What to say of an old id of a game, such as PongNoFrameskip-v4; None of any other."""
    identifier = settings.id.rpartition(":")[2]
    spec = gymnasium.registry.get(identifier)
    if spec is None or not str(spec.entry_point).startswith("ale_py") or is_atari(identifier):
        return None
    return (
        f"{identifier} shows raw pictures, one at a time and in colour: use {PREFIX}{_game(identifier)}-v5, whose "
        "observations are the last four grey pictures of 84 x 84 pixels"
    )


def new_id(identifier: str) -> str | None:
    """What to do instead of naming a game as gymnasium or envpool did, such as Pong-v4; None where it is no game."""
    game = {each.lower(): each for each in GAMES}.get(_game(identifier).lower())
    if game is None:
        return None
    install = "" if find_spec("ale_py") else "run pip install 'marl-cluster[atari]' and "
    return f"{install}use {PREFIX}{game}-v5"


def _game(identifier: str) -> str:
    return re.sub(r"(-ram)?(NoFrameskip|Deterministic)?(-v\d+)?$", "", identifier.removeprefix(PREFIX))


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
