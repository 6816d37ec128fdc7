"""Watch one episode of a trained policy, in a window or as a video."""

import os
import sys
from collections.abc import Collection
from pathlib import Path

import torch

from marl.acting.evaluate import MAX_EPISODE_STEPS
from marl.acting.policy import Policy
from marl.cluster.runs.restore import demand_same_spaces, restore
from marl.environments.closing import close_all
from marl.environments.describe import describe
from marl.environments.make import make_single
from marl.environments.settings import EnvironmentSettings
from marl.errors import EnvironmentFault, MarlError, MissingExtra
from marl.plugins import foreign_code
from marl.processes.signals import raising
from marl.reports.places import demand_folder


def render_episode(
    path: str,
    *,
    environment: str | None = None,
    activation: str | None = None,
    seed: int,
    greedy: bool | None,
    video: str | None,
    allow: Collection[str] = (),
) -> float:
    """Play one episode in a window or for a video. Gives the episode's return.

    Args:
        environment: to play in; None: the one that the policy was trained in.
        activation: see ``restore``.
        greedy: whether to take the most likely actions; None: as the evaluation that chose the policy.

    Raises:
        ConfigError: the folder for the video cannot be made.
        WeightsFileError: the file cannot be read, or the environment's spaces are no longer those it was trained on.
        PluginError: it names code that is not allowed.
        EnvironmentFault: the environment cannot be rendered, or there is no display to show it on.
        MissingExtra: a video was asked for and moviepy is not installed.
    """
    if video:
        demand_folder(Path(video), "--video")
    policy, settings, _, usual = restore(path, environment=environment, activation=activation, allow=allow)
    if not video:
        _demand_display()
    video = video and os.path.abspath(video)
    if video:
        try:
            import moviepy  # noqa: F401  gymnasium would report a missing moviepy only after the episode
        except ImportError as error:
            raise MissingExtra("moviepy", "video", "--video") from error
    with raising(), foreign_code(settings.id):
        return _play(path, policy, settings, seed=seed, greedy=usual if greedy is None else greedy, video=video)


def _demand_display() -> None:
    """Refuse to render without a display: renderers would draw nothing, or fail with messages of their own."""
    if not sys.platform.startswith("linux") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    ):
        return
    raise EnvironmentFault(
        "--render: expected a display to open a window on, got none (DISPLAY is not set): "
        "record a video with --video FOLDER, or name a display (ssh -X, xvfb-run)"
    )


def _play(
    path: str, policy: Policy, settings: EnvironmentSettings, *, seed: int, greedy: bool, video: str | None
) -> float:
    environment = make_single(settings, "rgb_array" if video else "human")
    generator = torch.Generator().manual_seed(seed)
    try:
        if video:
            from gymnasium.wrappers import RecordVideo

            environment = RecordVideo(environment, video, episode_trigger=lambda episode: True, disable_logger=True)
        now = describe(environment.observation_space, environment.action_space, settings.ignore, settings.mask)
        demand_same_spaces(path, policy.spaces, now, settings.id, policy.info)
        observation, _ = environment.reset(seed=seed)
        policy.reset()
        total = 0.0
        for _ in range(MAX_EPISODE_STEPS):
            action = policy.act(observation, greedy=greedy, generator=generator)
            observation, reward, terminated, truncated, _ = environment.step(action)
            total += float(reward)
            if terminated or truncated:
                break
    except MarlError:
        raise
    except Exception as error:
        raise EnvironmentFault(f"{settings.id} cannot be shown: {type(error).__name__}: {error}") from error
    finally:
        close_all([environment], settings.id)
    return total
