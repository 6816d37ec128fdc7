"""Policies of stable-baselines3 by the names and shapes of their tensors, compared with the formula in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from marl import api
from marl.errors import ConfigError, MarlError
from tests.exporting.policies import demand_parity
from tests.importing.files import actor_critic, layers, state_dict, torch_bytes, write

ENV = "tests.importing.played:"


def load(tmp_path: Path, tensors: dict[str, Tensor], which: str, activation: str | None = None) -> Any:
    path = write(tmp_path / "model.zip", torch_bytes(state_dict(tensors)))
    return api.load(path, environment=f"{ENV}{which}", activation=activation)


def by_hand(tensors: dict[str, Tensor], prefix: str, seen: npt.NDArray[Any], activation: Any) -> npt.NDArray[Any]:
    """All layers of a sequence, an activation between them."""
    found, number = seen.astype(np.float64), 0
    while f"{prefix}{number}.weight" in tensors:
        found = activation(found) if number else found
        weight, bias = (tensors[f"{prefix}{number}.{each}"].double().numpy() for each in ("weight", "bias"))
        found, number = found @ weight.T + bias, number + 2
    return found


@pytest.mark.parametrize(("activation", "function"), [(None, np.tanh), ("relu", lambda x: np.maximum(x, 0))])
def test_an_actor_critic(activation: str | None, function: Any, tmp_path: Path) -> None:
    tensors = actor_critic(inputs=6)
    seen = np.random.default_rng(0).uniform(-3, 3, (50, 2, 3))
    hidden = function(by_hand(tensors, "mlp_extractor.policy_net.", seen.reshape(50, 6), function))
    logits = hidden @ tensors["action_net.weight"].double().numpy().T + tensors["action_net.bias"].double().numpy()
    actions = load(tmp_path, tensors, "discrete", activation).act(seen)
    assert actions.tolist() == logits.argmax(-1).tolist()
    assert len(set(actions.tolist())) > 1


def test_values_of_actions_of_what_is_counted(tmp_path: Path) -> None:
    tensors = layers("q_net.q_net.", 5, 8, 4) | layers("q_net_target.q_net.", 5, 8, 4)
    values = by_hand(tensors, "q_net.q_net.", np.eye(5), lambda x: np.maximum(x, 0))
    assert load(tmp_path, tensors, "state").act(np.arange(5)).tolist() == values.argmax(-1).tolist()


def test_actions_in_a_box(tmp_path: Path) -> None:
    """A mean of PPO is a number of the environment's, one of TD3 is stretched to the box."""
    low, high = np.array([-2, 0]), np.array([2, 5])
    seen = np.random.default_rng(0).uniform(-1, 1, (20, 4)).astype(np.float32)
    tensors = layers("actor.mu.", 4, 8, 2) | layers("critic.qf0.", 6, 8, 1)
    squashed = np.tanh(by_hand(tensors, "actor.mu.", seen, lambda x: np.maximum(x, 0)))
    assert np.allclose(load(tmp_path, tensors, "box").act(seen), low + (squashed + 1) / 2 * (high - low), atol=1e-5)
    tensors = actor_critic(outputs=2) | {"log_std": torch.tensor([0.0, -1.0])}
    hidden = np.tanh(by_hand(tensors, "mlp_extractor.policy_net.", seen, np.tanh))
    means = hidden @ tensors["action_net.weight"].double().numpy().T + tensors["action_net.bias"].double().numpy()
    policy = load(tmp_path, tensors, "box")
    assert np.allclose(policy.act(seen), means.clip(low, high), atol=1e-5)
    many = policy.draw(np.repeat(seen[:1], 4000, 0), greedy=False, generator=torch.Generator().manual_seed(1))
    assert np.allclose(many.std(0) * (high - low) / 2, [1.0, np.exp(-1)], rtol=0.05)


def test_entries_of_a_dict_in_the_environments_own_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state, bits, arm = rng.integers(0, 5, 40), rng.integers(0, 2, (40, 3)), rng.uniform(-1, 1, (40, 4))
    tensors = layers("q_net.q_net.", 5 + 3 + 4, 8, 3)
    seen = np.concatenate([np.eye(5)[state], bits, arm], -1)
    values = by_hand(tensors, "q_net.q_net.", seen, lambda x: np.maximum(x, 0))
    actions = load(tmp_path, tensors, "mixed").act({"arm": arm.astype(np.float32), "bits": bits, "state": state})
    assert actions.tolist() == values.argmax(-1).tolist()
    assert len(set(actions.tolist())) > 1


def test_deviations_that_depend_on_what_is_seen(tmp_path: Path) -> None:
    """With use_sde. SAC's means have a limit there."""
    low, high = np.array([-2, 0]), np.array([2, 5])
    seen = np.random.default_rng(0).uniform(-1, 1, (20, 4)).astype(np.float32)
    tensors = actor_critic(outputs=2) | {"log_std": torch.linspace(-2, 0, 16).reshape(8, 2)}
    hidden = np.tanh(by_hand(tensors, "mlp_extractor.policy_net.", seen, np.tanh))
    means = hidden @ tensors["action_net.weight"].double().numpy().T + tensors["action_net.bias"].double().numpy()
    policy = load(tmp_path, tensors, "box")
    assert np.allclose(policy.act(seen), means.clip(low, high), atol=1e-5)
    many = policy.draw(np.repeat(seen[:1], 4000, 0), greedy=False, generator=torch.Generator().manual_seed(1))
    expected = np.sqrt(np.square(hidden[0]) @ np.exp(2 * tensors["log_std"].double().numpy()))
    assert np.allclose(many.std(0) * (high - low) / 2, expected, rtol=0.05)
    relu = lambda x: np.maximum(x, 0)  # noqa: E731
    tensors = layers("actor.latent_pi.", 4, 8) | layers("actor.mu.", 8, 2) | {"actor.log_std": torch.zeros(8, 2)}
    means = by_hand(tensors, "actor.mu.", relu(by_hand(tensors, "actor.latent_pi.", seen, relu)), relu)
    squashed = np.tanh(means.clip(-2, 2))
    assert (np.abs(means) > 2).any()
    assert np.allclose(load(tmp_path, tensors, "box").act(seen), low + (squashed + 1) / 2 * (high - low), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "which", "line"),
    [
        ({}, "box", "expected an environment with the actions of this PPO or A2C policy"),
        ({}, "state", "expected observations of 4 numbers, and the environment's have 1"),
        ({}, "nested", "expected an environment with one array as observation, or a Dict of arrays"),
        ({}, "tree", "expected entries of 4 numbers beside pictures, and the environment's have 8"),
        (
            {"features_extractor.extractors.view.linear.0.weight": torch.ones(8, 8)},
            "discrete",
            "or of a MultiInputPolicy and an environment with its Dict, got also features_extractor.extractors.view",
        ),
        (actor_critic(inputs=6, outputs=2), "discrete", "expected 3 outputs for .*, the policy has 2"),
        ({"mlp_extractor.policy_net.1.weight": torch.ones(8)}, "discrete", "policies with parts of their own"),
        ({"features_extractor.cnn.0.weight": torch.ones(32, 3, 8, 8)}, "picture", "cnn.0.weight with its bias"),
        (
            {"features_extractor.cnn.0.weight": torch.ones(1, 3, 5, 5), "features_extractor.cnn.0.bias": torch.ones(1)},
            "picture",
            r"expected the convolutions of NatureCNN, got features_extractor.cnn.0.weight of the shape \[1, 3, 5, 5\]",
        ),
        ({"action_net.weight": torch.ones(3, 9)}, "discrete", r"do not fit observations of the shape \[2, 3\]: name"),
        (
            actor_critic(inputs=12) | {"action_net.weight": torch.ones(3, 9)},
            "mixed",
            r"do not fit observations with the entries state \[\], bits \[3\], arm \[4\]: name the",
        ),
        (
            actor_critic(outputs=2) | {"log_std": torch.ones(7, 2)},
            "box",
            r"expected deviations of 8 features and 2 actions, got \[7, 2\]",
        ),
        ({"action_net.bias": torch.ones(1)}, "discrete", "expected a layer action_net.weight with its bias"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(changes: dict[str, Tensor], which: str, line: str, tmp_path: Path) -> None:
    inputs = 6 if which == "discrete" else 4
    with pytest.raises(MarlError, match=line) as caught:
        load(tmp_path, actor_critic(inputs=inputs) | changes, which)
    assert "\n" not in str(caught.value)


def test_another_algorithm_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MarlError, match=r"got the tensors lstm_actor.0.bias, lstm_actor.0.weight"):
        load(tmp_path, layers("lstm_actor.", 4, 8), "discrete")


def test_an_unknown_activation_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="activation: expected one of tanh, relu, elu, leaky_relu, got 'swish'"):
        load(tmp_path, actor_critic(), "discrete", "swish")


@pytest.mark.parametrize(
    ("tensors", "which"),
    [
        (actor_critic(inputs=6), "discrete"),
        (actor_critic(outputs=2) | {"log_std": torch.tensor([0.0, -1.0])}, "box"),
        (layers("q_net.q_net.", 5, 8, 4), "state"),
        (layers("actor.mu.", 4, 8, 2), "box"),
        (layers("q_net.q_net.", 12, 8, 3), "mixed"),
        (actor_critic(outputs=2) | {"log_std": torch.zeros(8, 2)}, "box"),
    ],
)
def test_an_exported_one_acts_alike(tensors: dict[str, Tensor], which: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.zip", torch_bytes(state_dict(tensors)))
    module = torch.jit.load(api.export(path, "torchscript", environment=f"{ENV}{which}"))

    def run(inputs: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        with torch.inference_mode():
            return [each.numpy() for each in module(*map(torch.from_numpy, inputs))]

    demand_parity(load(tmp_path, tensors, which), run)
