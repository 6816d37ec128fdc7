import io
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch

from marl.data.layout import ALIGNMENT, Leaf
from marl.data.shared import SharedBlock, memory_bytes
from marl.errors import ConfigError

FIELDS = {
    "weights": Leaf((3, 5), torch.float32),
    "stop": Leaf((1,), torch.uint8),
    "empty": Leaf((0, 4), torch.float32),
    "flags": Leaf((7,), torch.bool),
    "counts": Leaf((2, 8), torch.int64),
    "sums": Leaf((2,), torch.float64),
}


def test_shapes_types_and_places() -> None:
    block = SharedBlock(FIELDS)
    assert block.names() == list(FIELDS)
    for name, (shape, dtype, *_) in FIELDS.items():
        assert block[name].shape == shape
        assert block[name].dtype is dtype
        assert not block[name].any()
        if block[name].numel():
            assert block[name].is_shared()
            assert block[name].storage_offset() * dtype.itemsize % ALIGNMENT == 0


def test_fields_do_not_overlap() -> None:
    block = SharedBlock(FIELDS)
    for number, name in enumerate(FIELDS, start=1):
        block[name].fill_(number)
    for number, name in enumerate(FIELDS, start=1):
        assert (block[name] == (True if name == "flags" else number)).all()


def test_pickling_hands_over_the_memory() -> None:
    block = SharedBlock(FIELDS)
    buffer = io.BytesIO()
    ForkingPickler(buffer).dump(block)
    received = ForkingPickler.loads(buffer.getvalue())
    received["counts"][1, 3] = 42
    assert block["counts"][1, 3] == 42


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError):
        SharedBlock(FIELDS)["nothing"]


def test_bytes_before_there_is_a_block() -> None:
    """Every field begins a cache line."""
    assert memory_bytes({}) == 0
    assert memory_bytes(FIELDS) == sum(-(-size // ALIGNMENT) * ALIGNMENT for size in (60, 1, 0, 7, 128, 16))


def test_a_system_without_so_much_shared_memory_is_told_of_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch says that ``/dev/shm`` is full."""

    def full(*unused: Any, **unused_options: Any) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(ConfigError, match=r"expected 0\.0 MiB of shared memory.*make network\.hidden.*--shm-size=1g"):
        SharedBlock(FIELDS)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="it is not a folder here")
def test_what_the_system_does_not_let_grow_is_not_left_behind() -> None:
    """Limited from the start, as by ``ulimit -f``."""
    code = """
import os, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
import torch
from marl.data.layout import Leaf
from marl.data.shared import SharedBlock
from marl.errors import ConfigError
SharedBlock({"small": Leaf((100,), torch.uint8)})
try:
    SharedBlock({"large": Leaf((1_000_000,), torch.uint8)})
except ConfigError as error:
    print(error)
print([name for name in os.listdir("/dev/shm") if name.startswith(f"torch_{os.getpid()}_")])
"""
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=100)
    refusal, left = done.stdout.splitlines()
    assert refusal.startswith("expected 1.0 MiB of shared memory, the system has not so much: ")
    assert left == "[]"
