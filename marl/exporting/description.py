"""What a file says of the policy in it, as one JSON text."""

import json
from typing import Any

import torch

from marl.acting.policy import Policy
from marl.data.layout import leaves
from marl.data.stored import as_plain
from marl.exporting.module import ExportedPolicy, Field

FORMAT = "marl-export-1"
KEY = "marl"  # under which a format's metadata has the text


def described(policy: Policy, module: ExportedPolicy) -> str:
    """What goes in and comes out of the module, and what ``settings_of`` says."""
    state = leaves(policy.network.initial_state(1))
    initial = {
        field.name: each[0].tolist()
        for field, each in zip(module.inputs[module.num_observed :], state, strict=True)
        if torch.any(each != 0)
    }
    fields = {"inputs": list(map(_plain, module.inputs)), "outputs": list(map(_plain, module.outputs))}
    return json.dumps({**_what(policy), **fields, "initial_state": initial})


def settings_of(policy: Policy) -> str:
    """All that building the network again takes: spaces and settings."""
    return json.dumps({**_what(policy), "config": policy.info.get("config", {})})


def _what(policy: Policy) -> dict[str, Any]:
    config = policy.info.get("config", {})
    return {
        "format": FORMAT,
        "environment": config.get("environment", {}).get("id", ""),
        "algorithm": config.get("algorithm", {}).get("name", ""),
        "distribution": type(policy.network.distribution).__name__,
        "spaces": as_plain(policy.spaces),
    }


def _plain(field: Field) -> dict[str, Any]:
    return {"name": field.name, "dtype": field.dtype, "shape": list(field.shape)}
