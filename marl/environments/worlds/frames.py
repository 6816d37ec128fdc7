"""Environments whose observations are stacks of their last frames."""

from typing import Any

from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from marl.data.layout import mapped
from marl.data.spaces import Spaces
from marl.environments.settings import EnvironmentSettings
from marl.environments.worlds.atari import is_atari, stack_size


def with_frames(spaces: Spaces, settings: EnvironmentSettings, vector: VectorEnv[Any, Any, Any]) -> Spaces:
    """Spaces that know which of their pictures are stacks, where the environment says how deep it stacks."""
    depth = _depth(settings, vector)
    if type(depth) is not int or depth < 2:
        return spaces
    return spaces._replace(
        observations=mapped(
            lambda part: part._replace(frames=depth) if part.is_picture and part.shape[0] == depth else part,
            spaces.observations,
        )
    )


def _depth(settings: EnvironmentSettings, vector: VectorEnv[Any, Any, Any]) -> Any:
    """As ale-py's vector, gymnasium's FrameStackObservation, or an environment of the user's own calls it."""
    own = getattr(vector, "stack_size", 0)
    if isinstance(vector, SyncVectorEnv | AsyncVectorEnv):  # of single environments, which say it themselves
        return vector.get_attr("stack_size")[0] if all(vector.call("has_wrapper_attr", "stack_size")) else own
    return stack_size(settings.kwargs) if is_atari(settings.id) else own
