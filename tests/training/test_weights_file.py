import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from marl.errors import WeightsFileError
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from marl.training.saved.weights_file import FORMAT, fill, network_tensors, read, to_bytes
from tests.plain_spaces import plain_spaces

SPACES = plain_spaces((4,), num_actions=2)


def network(seed: int, hidden: tuple[int, ...] = (8,)) -> ActorCritic:
    return ActorCritic(SPACES, NetworkSettings(hidden=hidden), seed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt"


def refused(path: Path) -> str:
    """The one line by which a file is refused."""
    with pytest.raises(WeightsFileError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_there_and_back(path: Path) -> None:
    trained = network(1)
    extra = torch.arange(5, dtype=torch.float64)
    path.write_bytes(to_bytes({**network_tensors(trained), "normalizer": extra}, {"environment": "Ä", "n": [1, 2.5]}))
    file = read(path)
    assert file.info == {"format": FORMAT, "environment": "Ä", "n": [1, 2.5]}
    assert torch.equal(file.tensors["normalizer"], extra)
    assert "json" not in file.tensors
    other = network(2)
    fill(other, file, path)
    for mine, theirs in zip(trained.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_filling_keeps_the_views(path: Path) -> None:
    path.write_bytes(to_bytes(network_tensors(network(1)), {}))
    other = network(2)
    flat = flatten(other)
    fill(other, read(path), path)
    assert torch.equal(flat.weights, flatten(network(1)).weights)


def test_what_is_saved_stays_as_it_was() -> None:
    """A worker may write on while the file is made."""
    trained = network(1)
    tensors = network_tensors(trained)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.zero_()
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


def test_no_file(path: Path) -> None:
    assert "train first" in refused(path)


def test_a_folder(path: Path) -> None:
    path.mkdir()
    assert "cannot read" in refused(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"hello, this is a text\n", bytes(range(256)) * 40, b"PK\x03\x04" + bytes(90)]
)
def test_bytes_that_mean_nothing(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "expected a weights file that marl wrote" in refused(path)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.9, 0.999])
def test_a_file_cut_short(path: Path, part: float) -> None:
    content = to_bytes(network_tensors(network(1)), {})
    path.write_bytes(content[: int(len(content) * part)])
    assert "damaged or cut short" in refused(path)


class Code:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._trace,)


def test_code_in_a_file_never_runs(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it ran"
    path.write_bytes(pickle.dumps({"json": "{}", "network.a": Code(trace)}))
    refused(path)
    torch.save({"json": "{}", "network.a": Code(trace)}, path)
    refused(path)
    assert not trace.exists()
    with open(path, "rb") as file:  # the trap works
        torch.load(file, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": torch.zeros(2)}, "holds something else"),
        ([1, 2, 3], "holds something else"),
        (torch.zeros(3), "holds something else"),
        ({"json": 3}, "holds something else"),
        ({"json": "{not json"}, "damaged description"),
        ({"json": "[1]"}, "format"),
        ({"json": json.dumps({"format": "marl-weights-9"})}, "the format 'marl-weights-9', this version of marl reads"),
        ({"json": json.dumps({"format": FORMAT}), "network.a": "text"}, "not a tensor"),
    ],
)
def test_files_of_others(path: Path, content: object, words: str) -> None:
    torch.save(content, path)
    assert words in refused(path)


def test_a_zip_that_is_no_torch_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("letter.txt", "hello")
    refused(path)


@pytest.mark.parametrize(
    ("hidden", "words"), [((9,), r"of shape \(9, 4\), got \(8, 4\)"), ((8, 8), "hidden.1.weight of .*, got none")]
)
def test_another_network(path: Path, hidden: tuple[int, ...], words: str) -> None:
    path.write_bytes(to_bytes(network_tensors(network(1)), {}))
    with pytest.raises(WeightsFileError, match=words):
        fill(network(1, hidden), read(path), path)
