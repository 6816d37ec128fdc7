"""MuJoCo's way to warn and to draw, for gymnasium's robots.

By itself, MuJoCo writes each warning to standard error and to a file MUJOCO_LOG.TXT in the current folder.
"""

import logging
import os
import sys

from gymnasium.envs.registration import EnvSpec

from marl.errors import MissingExtra

logger = logging.getLogger(__name__)

MODULE = "gymnasium.envs.mujoco"


def prepare(spec: EnvSpec) -> None:
    """Before a robot is made: its warnings go to the log, and it is drawn without a screen where there is none.

    Does nothing for other environments.

    Raises:
        MissingExtra: MuJoCo is not installed.
    """
    if not str(spec.entry_point).startswith(MODULE):
        return
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is imported
    try:
        import mujoco
    except ImportError as error:
        raise MissingExtra("MuJoCo", "mujoco", spec.id) from error
    mujoco.set_mju_user_warning(_warn)


def _warn(text: str) -> None:
    if "deprecated" not in text:  # of gymnasium's own models: nobody here can mend them
        logger.warning("MuJoCo: %s", text)
