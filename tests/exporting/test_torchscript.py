"""TorchScript files act as ``Policy.act`` does."""

import io
import json

import pytest
import torch
from torch import Tensor

from marl.acting.policy import Policy
from marl.data.spaces import Part, Spaces
from marl.errors import ConfigError, ExportFailed
from marl.exporting.module import ExportedPolicy
from marl.exporting.torchscript_file import to_bytes
from marl.networks.contract import Stateless
from marl.networks.distributions import Categorical
from tests.exporting.policies import KINDS, Array, demand_parity, policy_of


@pytest.mark.parametrize("kind", KINDS)
def test_it_acts_as_the_policy_does(kind: str) -> None:
    policy = policy_of(kind)
    module = torch.jit.load(io.BytesIO(to_bytes(policy)))

    def run(inputs: list[Array]) -> list[Array]:
        with torch.inference_mode():
            return [each.numpy() for each in module(*map(torch.from_numpy, inputs))]

    demand_parity(policy, run)


def test_it_says_what_goes_in_and_comes_out() -> None:
    extra = {"marl.json": ""}
    info = {"config": {"environment": {"id": "Doors"}, "algorithm": {"name": "ppo"}}}
    torch.jit.load(io.BytesIO(to_bytes(policy_of("masked_tree", info))), _extra_files=extra)
    said = json.loads(extra["marl.json"])
    assert (said["environment"], said["algorithm"], said["distribution"]) == ("Doors", "ppo", "Compound")
    assert [(each["name"], each["dtype"], each["shape"]) for each in said["inputs"]] == [
        ("observation/action_mask", "int64", [4]),
        ("observation/other", "float32", [5]),
        ("state", "float32", [64]),
    ]
    names = ["action/0", "action/1", "parameters", "next_state"]
    assert [each["name"] for each in said["outputs"]] == names
    assert said["initial_state"] == {}


def test_names_that_would_be_the_same_are_refused() -> None:
    spaces = Spaces({"a": {"b": Part((1,))}, "a/b": Part((1,))}, Part((), "int32", (2,), (0,)))
    with pytest.raises(ConfigError, match="have the same name"):
        ExportedPolicy(Policy(Counting(), spaces, None, {}))


class Counting(Stateless):
    """What it says depends on how many rows it sees, in a way that no trace follows."""

    distribution = Categorical(2)

    def policy(self, observations: Tensor) -> Tensor:
        rows = observations["a/b"] if isinstance(observations, dict) else observations
        return torch.zeros(rows.shape[0], 2) + float(len(rows) > 2)


def test_a_trace_that_holds_for_one_number_of_rows_is_refused() -> None:
    with pytest.raises(ExportFailed, match="torch cannot write this network as TorchScript: AssertionError: "):
        to_bytes(Policy(Counting(), Spaces(Part((1,)), Part((), "int32", (2,), (0,))), None, {}))
