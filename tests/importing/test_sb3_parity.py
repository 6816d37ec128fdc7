"""The library's own files, and its own answers: marl plays the same actions."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from marl import api
from tests.importing.played import ANY, SPACES

pytestmark = pytest.mark.slow
sb3 = pytest.importorskip("stable_baselines3", reason="make test-more installs it: stable-baselines3")

SEEN = {"discrete": np.float32, "state": np.int32, "bytes": np.uint8, "picture": np.uint8}  # as networks see it
RELU = {"policy_kwargs": {"activation_fn": nn.ReLU, "net_arch": [32]}}
TWO = {"policy_kwargs": {"share_features_extractor": False}}
SMALL = {"learning_starts": 10, "buffer_size": 100}
KINDS: dict[str, tuple[str, str, str, dict[str, Any], str | None]] = {  # algorithm, policy, spaces, arguments
    "ppo": ("PPO", "MlpPolicy", "discrete", {}, None),
    "ppo, relu": ("PPO", "MlpPolicy", "discrete", RELU, "relu"),
    "ppo, box": ("PPO", "MlpPolicy", "box", {}, None),
    "ppo, categories": ("PPO", "MlpPolicy", "categories", {}, None),
    "ppo, bits": ("PPO", "MlpPolicy", "bits", {}, None),
    "ppo, pictures": ("PPO", "CnnPolicy", "picture", {}, None),
    "ppo, own extractors": ("PPO", "CnnPolicy", "picture", TWO, None),
    "ppo, flat pictures": ("PPO", "MlpPolicy", "picture", {}, None),
    "a2c": ("A2C", "MlpPolicy", "bytes", {}, None),
    "a2c, pictures": ("A2C", "CnnPolicy", "picture", {}, None),
    "dqn": ("DQN", "MlpPolicy", "state", SMALL, None),
    "dqn, pictures": ("DQN", "CnnPolicy", "picture", SMALL, None),
    "sac": ("SAC", "MlpPolicy", "box", SMALL, None),
    "sac, pictures": ("SAC", "CnnPolicy", "picture_box", SMALL, None),
    "td3": ("TD3", "MlpPolicy", "box", SMALL, None),
    "ppo, entries": ("PPO", "MultiInputPolicy", "mixed", {}, None),
    "a2c, camera": ("A2C", "MultiInputPolicy", "camera", {}, None),
    "dqn, entries": ("DQN", "MultiInputPolicy", "mixed", SMALL, None),
    "sac, camera": ("SAC", "MultiInputPolicy", "camera", SMALL, None),
    "td3, camera": ("TD3", "MultiInputPolicy", "camera", SMALL, None),
    "ppo, sde": ("PPO", "MlpPolicy", "box", {"use_sde": True}, None),
    "a2c, sde": ("A2C", "MlpPolicy", "box", {"use_sde": True, "policy_kwargs": {"full_std": False}}, None),
    "sac, sde": ("SAC", "MlpPolicy", "box", {"use_sde": True, **SMALL}, None),
    "ddpg": ("DDPG", "MlpPolicy", "box", SMALL, None),
}  # fmt: skip


def as_rows(seen: Any, dtype: Any) -> Any:
    """As a network gets it."""
    if isinstance(seen, dict):
        return {name: torch.from_numpy(each.reshape(len(each), -1)) for name, each in seen.items()}
    return torch.from_numpy(seen.reshape(len(seen), -1).astype(dtype))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_actions(kind: str, tmp_path: Path) -> None:
    name, policy, which, arguments, activation = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pictures that are no photographs, of bounds that are no -1 to 1
        model = getattr(sb3, name)(policy, ANY[which](), seed=1, device="cpu", **arguments)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for each in model.policy.parameters():
            if each.ndim > 1:  # not biases: what is seen should matter
                each.add_(torch.randn(each.shape, generator=generator) * 0.1)
    model.save(tmp_path / "model.zip")
    loaded: Any = api.load(tmp_path / "model.zip", environment=f"tests.importing.played:{which}", activation=activation)
    samples = [SPACES[which][0].sample() for _ in range(20)]
    if isinstance(SPACES[which][0], spaces.Dict):
        seen: Any = {name: np.stack([each[name] for each in samples]) for name in samples[0]}
    else:
        seen = np.stack(samples)
    expected, _ = model.predict(seen, deterministic=True)
    played = loaded.act(seen)
    assert np.asarray(played).shape == expected.shape
    assert float(np.abs(np.asarray(played, float) - expected).max()) <= 1e-5
    if isinstance(SPACES[which][1], spaces.Discrete):  # what the actions are chosen by, too
        rows, _ = model.policy.obs_to_tensor(seen)
        with torch.no_grad():
            values = model.q_net(rows) if name == "DQN" else model.policy.get_distribution(rows).distribution.logits
            found = loaded.network.policy(as_rows(seen, SEEN.get(which)))
        assert float((values - (found if name == "DQN" else found.log_softmax(-1))).abs().max()) <= 1e-5
        assert float(values.std(0).max()) > 1e-3  # it matters what is seen
