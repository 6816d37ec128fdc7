"""Files as stable-baselines3 writes them, made without it."""

import io
import itertools
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

TRAP = b"cos\nsystem\n(S'touch ran'\ntR."  # a pickle that runs a command


def state_dict(tensors: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """With the metadata that a module's own has."""
    found = OrderedDict(tensors)
    found._metadata = nn.Linear(1, 1).state_dict()._metadata  # type: ignore[attr-defined]
    return found


def torch_bytes(content: object) -> bytes:
    """As ``torch.save`` writes it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def write(path: Path, policy: bytes, packed: int = zipfile.ZIP_STORED) -> Path:
    """A file with this ``policy.pth``; everything else in it is a trap."""
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("data", TRAP)
        for name, content in (("pytorch_variables.pth", TRAP), ("policy.optimizer.pth", TRAP), ("policy.pth", policy)):
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(content)
        archive.writestr("_stable_baselines3_version", "2.9.2")
    return path


def layers(prefix: str, *sizes: int, seed: int = 0) -> dict[str, Tensor]:
    """Linear layers as a sequence with activations between them has them."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for number, (below, above) in enumerate(itertools.pairwise(sizes)):
        found[f"{prefix}{2 * number}.weight"] = torch.randn(above, below, generator=generator)
        found[f"{prefix}{2 * number}.bias"] = torch.randn(above, generator=generator) * 0.1
    return found


def actor_critic(inputs: int = 4, hidden: int = 8, outputs: int = 3) -> dict[str, Tensor]:
    """The tensors of an MlpPolicy of PPO or A2C for categories."""
    head = layers("", hidden, outputs, seed=1)
    return {
        **layers("mlp_extractor.policy_net.", inputs, hidden, hidden),
        **layers("mlp_extractor.value_net.", inputs, hidden, hidden),
        "action_net.weight": head["0.weight"],
        "action_net.bias": head["0.bias"],
        "value_net.weight": torch.zeros(1, hidden),
        "value_net.bias": torch.zeros(1),
    }
