"""``marl export``: files that other programs read, and one line for what cannot become one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marl import api
from marl.config.settings import from_tree, to_tree
from marl.data.stored import as_plain
from marl.errors import ConfigError
from marl.exporting import onnx_file, safetensors_file
from marl.training.saved.weights_file import network_tensors, to_bytes
from tests.cli.conftest import Answer
from tests.plain_spaces import plain_spaces

SPACES = plain_spaces((4,), num_actions=2)
Command = Callable[..., Answer]


def write(path: Path, **tree: Any) -> None:
    config = from_tree(tree)
    network = config.algorithm.build_network(SPACES, config.network, 1)
    info = {"config": to_tree(config), "spaces": as_plain(SPACES)}
    path.write_bytes(to_bytes(network_tensors(network), info))


def test_a_file_beside_the_weights(command: Command, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    write(tmp_path / "kept/w.pt")
    answer = command("export", "kept/w.pt", "--torchscript")
    path = tmp_path / "kept/w.torchscript"
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"kept/w.torchscript: {path.stat().st_size:,} bytes\n"
    seen = np.ones((3, 4), np.float32)
    actions, _ = torch.jit.load(path)(torch.from_numpy(seen))
    assert actions.tolist() == api.load(tmp_path / "kept/w.pt").act(seen).tolist()


def test_the_weights_of_a_run_folder_are_written_here(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "runs/one"
    run.mkdir(parents=True)
    write(run / "best.pt")
    for name in ("config.toml", "facts.json"):
        (run / name).touch()
    assert command("export", "runs/one/best.pt", "--torchscript").out.startswith("best.torchscript: ")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["missing.pt", "--torchscript"], 1, "no file missing.pt"),
        (["words.pt", "--torchscript"], 1, "expected a weights file that marl wrote in words.pt"),
        (["w.pt", "--torchscript", "--out", "nowhere/w.ts"], 1, "--out: the folder nowhere does not exist"),
        (["w.pt", "--torchscript", "--out", "."], 1, "--out: expected a file to write"),
        (["w.pt", "--torchscript", "--out", "w.pt"], 1, "--out: w.pt is the file to read"),
        (["rows.pt", "--torchscript", "--allow", "*"], 1, "torch cannot write this network as TorchScript"),
        (["w.pt"], 2, "expected one of --onnx, --torchscript and --safetensors, got 0"),
        (["w.pt", "--onnx", "--safetensors"], 2, "expected one of --onnx, --torchscript and --safetensors, got 2"),
        (["w.pt", "--keras"], 2, "No such option"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    words: list[str], code: int, line: str, command: Command, tmp_path: Path
) -> None:
    write(tmp_path / "w.pt")
    write(tmp_path / "rows.pt", network={"name": "tests.parts:CountsRows"})
    (tmp_path / "words.pt").write_text("words")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    answer = command("export", *words)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("Error: ")
    assert line in answer.err
    assert answer.err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("form", "module"), [("onnx", onnx_file), ("safetensors", safetensors_file)])
def test_a_missing_package_is_one_line(
    form: str, module: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda unused_name: None)
    answer = command("export", "missing.pt", f"--{form}")
    assert answer.code == 1
    assert f"needs {form}: run pip install 'marl-cluster[export]'" in answer.err


def test_an_unknown_format_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="expected one of the formats onnx, torchscript, safetensors, got 'keras'"):
        api.export("missing.pt", "keras")
