"""ONNX files act in ONNX Runtime as ``Policy.act`` does, without torch too."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from marl.acting.policy import Policy
from marl.errors import ExportFailed
from marl.exporting.module import ExportedPolicy
from marl.exporting.onnx_file import to_bytes
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from tests.commands import ROOT
from tests.exporting.policies import KINDS, Array, demand_parity, policy_of
from tests.parts import CountsRows
from tests.plain_spaces import plain_spaces

# 124 MB to install: too much for what every test run needs.
WHY = "needs the extra export: pip install onnx onnxscript onnxruntime"
pytestmark = pytest.mark.slow
for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=WHY)


@pytest.mark.parametrize("kind", KINDS)
def test_it_acts_as_the_policy_does(kind: str) -> None:
    import onnxruntime

    policy = policy_of(kind)
    session = onnxruntime.InferenceSession(to_bytes(policy))
    names = [each.name for each in session.get_inputs()]
    module = ExportedPolicy(policy)
    assert names == [field.name for field in module.inputs]
    assert [each.name for each in session.get_outputs()] == [field.name for field in module.outputs]

    def run(inputs: list[Array]) -> list[Array]:
        found: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
        return found

    demand_parity(policy, run)


@pytest.mark.parametrize("kind", ["masked", "gru", "initial_state"])
def test_the_example_serves_it_without_torch(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(to_bytes(policy := policy_of(kind)))
    one = {"masked": {"action_mask": [0, 0, 1, 0], "observation": [0.5] * 5}}.get(kind, [0.5] * 6)
    lines = [{f"observation/{name}": each for name, each in one.items()} if kind == "masked" else {"observation": one}]
    asked = "".join(json.dumps(line) + "\n" for line in lines * 3) + "\n" + json.dumps(lines[0]) + "\n"
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['marl'] = None; "
        f"sys.argv = ['serve', {str(path)!r}]; "
        f"runpy.run_path({str(ROOT / 'examples/serve_onnx.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True)
    said = [json.loads(line)["action"] for line in done.stdout.splitlines()]
    expected = [policy.act(one) for _ in range(3)]
    policy.reset()
    np.testing.assert_allclose(np.array(said), np.array([*expected, policy.act(one)]), rtol=0, atol=1e-5)
    text = (ROOT / "examples/serve_onnx.py").read_text(encoding="utf-8")
    assert len(list(filter(None, text.split('"""')[2].splitlines()))) <= 20


def test_what_torch_cannot_follow_is_one_line_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    spaces = plain_spaces((2,), num_actions=2)
    with pytest.raises(ExportFailed, match=r"torch cannot write this network as ONNX: \w+: ") as caught:
        to_bytes(Policy(CountsRows(spaces, NetworkSettings(), 1), spaces, None, {}))
    assert "\n" not in str(caught.value)
    to_bytes(Policy(ActorCritic(spaces, NetworkSettings(), 1), spaces, None, {}))
    assert capfd.readouterr() == ("", "")
