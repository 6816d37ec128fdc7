"""safetensors: the network's tensors, the normaliser's numbers, and all that building the network again takes."""

import importlib.util
from typing import cast

import torch

from marl.acting.policy import Policy
from marl.errors import ExportFailed, MissingExtra
from marl.exporting.description import KEY, settings_of
from marl.training.saved.weights_file import network_tensors

SUFFIX = ".safetensors"


def demand() -> None:
    """Say before a file is read that it cannot be written in this format.

    Raises:
        MissingExtra: the package is not installed.
    """
    if importlib.util.find_spec("safetensors") is None:
        raise MissingExtra("safetensors", "export", "a safetensors file")


def to_bytes(policy: Policy) -> bytes:
    """The file's content: ``network.<name>`` as in a weights file; ``normalizer.mean`` and ``normalizer.scale`` where
    observations are normalised, (observation - mean) * scale clipped to -10 to 10.

    Raises:
        ExportFailed: nothing says how to build the network again.
    """
    if "network" not in policy.info.get("config", {"network": {}}):
        raise ExportFailed(
            "no settings describe the network of a policy of another library: write --onnx or --torchscript"
        )
    from safetensors.torch import save

    tensors = network_tensors(cast(torch.nn.Module, policy.network))
    if policy.normalizer is not None:
        mean, scale = policy.normalizer.line(wide=True)
        tensors |= {
            "normalizer.mean": torch.from_numpy(mean.copy()),
            "normalizer.scale": torch.from_numpy(scale.copy()),
        }
    data: bytes = save({name: each.contiguous() for name, each in tensors.items()}, {KEY: settings_of(policy)})
    return data
