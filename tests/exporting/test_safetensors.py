"""A safetensors file is enough to build its network again."""

import json
import runpy
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marl.algorithms.build import build_network
from marl.config.settings import from_tree, to_tree
from marl.data.stored import read_spaces
from marl.exporting.safetensors_file import to_bytes
from tests.exporting.policies import policy_of
from tests.test_pages import blocks

safetensors = pytest.importorskip("safetensors.torch")


@pytest.mark.parametrize(("kind", "network"), [("masked", {}), ("gru", {"core": "gru"}), ("box", {})])
def test_the_network_can_be_built_again(kind: str, network: dict[str, Any]) -> None:
    config = to_tree(from_tree({"network": network}))
    policy = policy_of(kind, {"config": config})
    data = to_bytes(policy)
    said = metadata(data)
    again = from_tree(said["config"])
    built = build_network(again.algorithm, read_spaces(said["spaces"]), again.network)
    assert read_spaces(said["spaces"]) == policy.spaces
    tensors = safetensors.load(data)
    mean, scale = tensors.pop("normalizer.mean"), tensors.pop("normalizer.scale")
    built.load_state_dict({name.removeprefix("network."): each for name, each in tensors.items()})
    seen = np.full((2, len(mean)), 0.5)
    assert policy.normalizer is not None
    assert np.array_equal(policy.normalizer(seen), ((seen - mean.numpy()) * scale.numpy()).clip(-10, 10).astype("f4"))
    expected = policy.network.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(each, expected[name]) for name, each in built.state_dict().items())


def test_the_program_of_the_page_builds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (each for each in blocks("export") if each.language == "python")
    policy = policy_of("gru", {"config": to_tree(from_tree({"network": {"core": "gru"}}))})
    monkeypatch.chdir(tmp_path)
    Path("policy.safetensors").write_bytes(to_bytes(policy))
    Path("program.py").write_text(block.text, encoding="utf-8")
    built = runpy.run_path("program.py")["network"].state_dict()
    expected = policy.network.state_dict()  # type: ignore[attr-defined]
    assert built.keys() == expected.keys()
    assert all(torch.equal(each, expected[name]) for name, each in built.items())


def metadata(data: bytes) -> dict[str, Any]:
    """Of a file: eight bytes say how long the JSON text before the tensors is."""
    (length,) = struct.unpack_from("<Q", data)
    found: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["marl"])
    return found
