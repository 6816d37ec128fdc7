"""Of a stable-baselines3 file the tensors alone are read; nothing in it is run; bad ones are refused in one line."""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from marl import api
from marl.errors import ConfigError, ExportFailed, WeightsFileError
from marl.exporting import safetensors_file
from marl.importing.sb3_file import is_sb3, read_policy
from tests.cli.conftest import Answer
from tests.cli.conftest import command as command
from tests.importing.files import TRAP, actor_critic, state_dict, torch_bytes, write

GOOD = torch_bytes(state_dict(actor_critic(inputs=6)))
ENV = "tests.importing.played:discrete"


def test_the_tensors_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "model.zip", GOOD)
    assert is_sb3(path)
    found, expected = read_policy(path), actor_critic(inputs=6)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], each) for name, each in expected.items())
    api.evaluate(path, environment=ENV, episodes=2)
    assert [each.name for each in tmp_path.iterdir()] == ["model.zip"]


def test_one_that_was_trained_on_a_gpu(tmp_path: Path) -> None:
    """Its pickle says "cuda:0" where others say "cpu"."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name, part in parts.items():
            new.writestr(name, part.replace(b"\x03\x00\x00\x00cpu", b"\x06\x00\x00\x00cuda:0"))
    assert b"cuda:0" in buffer.getvalue()
    path = write(tmp_path / "model.zip", buffer.getvalue())
    assert torch.equal(read_policy(path)["value_net.bias"], torch.zeros(1))


class Runs:
    """A pickle of it runs a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def bomb() -> bytes:
    """A torch file whose tensor is packed: few bytes that unpack to many."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name, part in parts.items():
            new.writestr(name, part if name.endswith("pkl") else bytes(1_000_000))
    return buffer.getvalue()


def longer(data: bytes) -> bytes:
    """The same, whose directory claims that ``policy.pth`` has a terabyte."""
    place = data.rindex(b"policy.pth") - 46
    return data[: place + 20] + struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0) + data[place + 28 :]


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (TRAP, "it is no such file"),
        (torch_bytes(Runs()), "it holds"),
        (torch_bytes(state_dict({"a": Runs()})), "it holds"),  # type: ignore[dict-item]
        (torch_bytes([torch.zeros(1)]), "it holds something else"),
        (torch_bytes(state_dict({"a": torch.zeros(1, dtype=torch.float64)})), "a is no tensor of float32"),
        (torch_bytes(state_dict({"a": torch.tensor([float("nan")])})), "a has numbers that are not finite"),
        (bomb(), "it is packed"),
        (GOOD[:-30], "it is damaged or cut short"),
        (GOOD[:200] + GOOD[300:], "it is damaged or cut short"),
        (b"", "it is no such file"),
    ],
    ids=range(10),
)
def test_a_policy_that_is_none_is_one_line(
    policy: bytes, line: str, command: Callable[..., Answer], tmp_path: Path
) -> None:
    write(tmp_path / "model.zip", policy)
    answer = command("evaluate", "model.zip", "--env", ENV)
    assert answer.code == 1
    assert answer.err.startswith("Error: expected a policy.pth of stable-baselines3 in model.zip, and ")
    assert line in answer.err
    assert answer.err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["model.zip"]


def test_a_file_that_is_packed_or_lies_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match="it is packed, and stable-baselines3 writes files that are not"):
        read_policy(write(tmp_path / "model.zip", bytes(10_000_000), zipfile.ZIP_DEFLATED))
    path = write(tmp_path / "model.zip", GOOD)
    path.write_bytes(longer(path.read_bytes()))
    with pytest.raises(WeightsFileError, match=r"it has 4,294,967,280 bytes, expected at most"):
        read_policy(path)


def test_what_is_none_goes_the_way_of_other_files(command: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "words.zip").write_text("words")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("data", TRAP)
    for name in ("words.zip", "empty.zip", "missing.zip"):
        assert not is_sb3(tmp_path / name)
        answer = command("evaluate", name, "--env", ENV)
        assert (answer.code, answer.err.count("\n")) == (1, 1)
        assert "weights file" in answer.err or "no file missing.zip" in answer.err


def test_the_command(command: Callable[..., Answer], tmp_path: Path) -> None:
    write(tmp_path / "model.zip", GOOD)
    answer = command("evaluate", "model.zip")
    assert answer.code == 1
    assert answer.err.endswith("does not say its environment: name it (--env ENV)\n")
    answer = command("evaluate", "model.zip", "--env", ENV, "--episodes", "3", "--json", "--activation", "relu")
    assert answer.code == 0
    said = json.loads(answer.out)
    assert said["returns"] == [2.0, 2.0, 2.0]
    assert said["algorithm"] == "PPO or A2C of stable-baselines3 (relu)"
    assert "VecNormalize" in answer.err


def test_an_activation_is_for_files_that_do_not_say_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"activation: .* says itself which activation its network has"):
        api.load(tmp_path / "w.pt", activation="relu")


def test_the_command_that_exports_it(command: Callable[..., Answer], tmp_path: Path) -> None:
    write(tmp_path / "model.zip", GOOD)
    answer = command("export", "model.zip", "--torchscript", "--env", ENV)
    assert (answer.code, answer.err) == (0, "")
    extra = {"marl.json": ""}
    torch.jit.load(tmp_path / "model.torchscript", _extra_files=extra)
    assert json.loads(extra["marl.json"])["algorithm"] == "PPO or A2C of stable-baselines3 (tanh)"
    with pytest.raises(ExportFailed, match="write --onnx or --torchscript"):
        safetensors_file.to_bytes(api.load(tmp_path / "model.zip", environment=ENV))
