"""Files that no honest run writes: damaged, absurd, or made to do harm when they are read."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from marl.config.settings import from_tree, to_tree
from marl.data.stored import as_plain
from marl.training.saved.weights_file import FORMAT, network_tensors
from tests.plain_spaces import plain_spaces

Write = Callable[[Path], object]
SPACES = plain_spaces((4,), num_actions=2)
DEEP = 100_000
DIGITS = "9" * 5_000
COMMAND = {"id": "subprocess:getoutput", "kwargs": {"cmd": "touch ran"}}


def good() -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and description of a file that can be read."""
    config = from_tree({})
    network = config.algorithm.build_network(SPACES, config.network, 1)
    return dict(network_tensors(network)), {"config": to_tree(config), "spaces": as_plain(SPACES)}


def weights(
    *, tensors: dict[str, Any] | None = None, drop: str = "", text: Any = None, **changes: Any
) -> Callable[[Path], None]:
    """A weights file with other tensors, another description, or other settings (``environment__id``)."""

    def write(path: Path) -> None:
        content, info = good()
        info = json.loads(json.dumps(info))
        for key, value in changes.items():
            *sections, last = key.split("__")
            inner = info
            for section in sections:
                inner = inner[section]
            inner[last] = value
        content |= tensors or {}
        content.pop(drop, None)
        described = json.dumps({"format": FORMAT, **info}) if text is None else text
        torch.save({**content, "json": described}, path)

    return write


def spaces(**changes: Any) -> Write:
    return weights(spaces={**as_plain(SPACES), **changes})


def hidden(*widths: int) -> Write:
    return weights(config__network__hidden=list(widths))


def settings(section: str, **values: Any) -> Write:
    return weights(**{f"config__{section}__{key}": value for key, value in values.items()})


def bytes_of(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def sparse(size: int) -> Write:
    def write(path: Path) -> None:
        with open(path, "wb") as file:
            file.truncate(size)

    return write


def changed(change: Callable[[bytes], bytes]) -> Write:
    """A good weights file whose bytes were changed."""

    def write(path: Path) -> None:
        weights()(path)
        path.write_bytes(change(path.read_bytes()))

    return write


def pickled(body: bytes, records: dict[str, bytes] | None = None, packed: bool = False) -> Write:
    """An archive as torch writes it, around a pickle of our own."""

    def write(path: Path) -> None:
        how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", how) as archive:
            for name, content in {
                "data.pkl": body,
                "version": b"3\n",
                "byteorder": b"little",
                **(records or {}),
            }.items():
                archive.writestr(f"archive/{name}", content)

    return write


def text_of(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def call(module: str, name: str, arguments: bytes) -> bytes:
    """A pickle of {"json": "{}", "network.a": module.name(*arguments)}."""
    called = f"c{module}\n{name}\n".encode() + arguments + b"R"
    return b"\x80\x02}(" + text_of("json") + text_of("{}") + text_of("network.a") + called + b"u."


def tensor(shape: str, stride: str, count: int, dtype: str = "Float", offset: int = 0) -> bytes:
    """A pickle with one tensor of which the file holds 4 numbers."""
    storage = b"(" + text_of("storage") + f"ctorch\n{dtype}Storage\n".encode() + text_of("0") + text_of("cpu")
    storage += number(count) + b"tQ"
    sizes, steps = (b"".join(number(int(each)) for each in text.split()) for text in (shape, stride))
    arguments = b"(" + storage + number(offset) + b"(" + sizes + b"t(" + steps + b"t"
    return call("torch._utils", "_rebuild_tensor_v2", arguments + b"\x89ccollections\nOrderedDict\n)Rt")


def many_parts(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        for number in range(30_000):
            archive.writestr(f"archive/data/{number}", b"")


def overlapping(path: Path) -> None:
    """Many names for the same megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(1_000_000))
        first = archive.getinfo("archive/data/0")
        for number in range(1, 5_000):
            other = zipfile.ZipInfo(f"archive/data/{number}")
            other.header_offset, other.CRC = first.header_offset, first.CRC
            other.file_size = other.compress_size = first.file_size
            archive.filelist.append(other)
    path.write_bytes(buffer.getvalue())


ONES = torch.ones(4)
WEIGHTS: dict[str, Write] = {
    # names of code
    "a command": weights(config__environment=COMMAND),
    "a command by an algorithm": settings("algorithm", name="subprocess:Popen"),
    "a command by a network": settings("network", name="os:system"),
    "a command by a sampler": settings("exploration", sampler="os:system"),
    "a module that registers": settings("environment", id="antigravity:Env-v0"),
    "a name with a command in it": settings("environment", id="x; touch ran:Env"),
    "a name that paints": settings("environment", id="\x1b[31mred\x07:Env"),
    "an id of two lines": settings("environment", id="a\nError: b"),
    "code in an argument": settings("environment", kwargs={"env_id": "os:getcwd"}),
    "code deep in an argument": settings("environment", kwargs={"a": [{"b": ["subprocess.getoutput"]}]}),
    "a door of gymnasium": settings("environment", id="GymV21Environment-v0", kwargs={"env_id": "os:E-v0"}),
    "a missing environment": settings("environment", id="Missing-v0"),
    "a map of a megabyte": settings("environment", id="FrozenLake-v1", kwargs={"desc": ["F" * 200] * 200}),
    "arguments of make": settings("environment", kwargs={"vector_kwargs": 3, "wrappers": ["os.system"]}),
    # sizes
    "a million wide": hidden(1_000_000),
    "a billion wide": hidden(1_000_000_000, 1_000_000_000),
    "many layers": hidden(*[1] * 100_000),
    "a negative width": hidden(-5),
    "no width": hidden(0),
    "wide enough to overflow": hidden(2**62, 2**62),
    "a width of text": weights(config__network__hidden=["64"]),
    "a billion actions": spaces(num_actions=10**9),
    "a square of actions": spaces(num_actions=100_000),
    "negative actions": spaces(num_actions=-1),
    "half an action": spaces(num_actions=1.5),
    "a wide observation": spaces(observation_shape=[100_000, 100_000]),
    "a negative observation": spaces(observation_shape=[-4]),
    "an observation of text": spaces(observation_shape=["4"]),
    "an observation of nothing": spaces(observation_shape=[0]),
    "a shape that is none": spaces(observation_shape=4),
    "another type of numbers": spaces(observation_dtype="complex64"),
    "an attribute of torch": spaces(observation_dtype="load"),
    "bounds that are none": spaces(num_actions=0, action_shape=[1], action_low=[float("nan")], action_high=[1.0]),
    "bounds of text": spaces(num_actions=0, action_shape=[1], action_low=["a"], action_high=["b"]),
    "bounds upside down": spaces(num_actions=0, action_shape=[1], action_low=[2.0], action_high=[1.0]),
    "too few bounds": spaces(num_actions=0, action_shape=[3], action_low=[0.0], action_high=[1.0]),
    "spaces of something else": weights(spaces=[1, 2]),
    "no spaces": weights(spaces=None),
    "a space too many": spaces(colour="red"),
    # numbers in settings
    "many environments": settings("environment", per_worker=10**12),
    "NaN as a scale": settings("environment", reward_scale=float("nan")),
    "an unknown setting": settings("network", colour="red"),
    "settings of text": weights(config="everything"),
    "no settings": weights(config=None),
    "more steps than a number can be": settings("exchange", every=f"{DIGITS[:400]} steps"),
    "more seconds than a number can be": settings("exchange", every=f"{DIGITS[:400]} seconds"),
    # descriptions
    "deep JSON": weights(text='{"a":' * DEEP),
    "deep lists": weights(text="[" * DEEP + "]" * DEEP),
    "5,000 digits": weights(text=f'{{"format": "{FORMAT}", "steps": {DIGITS}}}'),
    "4,000 digits": weights(text=f'{{"format": "{FORMAT}", "steps": {DIGITS[:4000]}}}'),
    "no JSON": weights(text="\x00\x01"),
    "a long text": weights(text=" " * 9_000_000),
    "another format": weights(text='{"format": "x"}'),
    "no text": weights(text=3),
    "half a letter": weights(text='{"format": "\\ud800"}'),
    "half a letter in a setting": settings("exchange", every="\ud800"),
    "half a letter in an argument": settings("environment", kwargs={"a": ["\udfff"]}),
    "half a letter in a key": settings("environment", kwargs={"\ud800": 1}),
    "half a letter beside the settings": weights(run_id="\ud800"),
    # tensors
    "no tensors": pickled(b"\x80\x02}" + text_of("json") + text_of("{}") + b"s."),
    "a sparse tensor": weights(tensors={"network.actor.head.weight": torch.eye(64).to_sparse()}),
    "a meta tensor": weights(tensors={"network.actor.head.weight": torch.empty(10**12, device="meta")}),
    "a quantized tensor": weights(tensors={"a": torch.quantize_per_tensor(ONES, 1.0, 0, torch.qint8)}),
    "a complex tensor": weights(tensors={"a": ONES.to(torch.complex64)}),
    "bfloat16": weights(tensors={"normalizer": torch.ones(9, dtype=torch.bfloat16)}),
    "an expanded tensor": weights(tensors={"a": torch.ones(1).expand(10**12)}),
    "a strided tensor": weights(tensors={"a": torch.ones(4, 4).t()}),
    "a part of a tensor": weights(tensors={"a": torch.ones(1_000_000)[:2]}),
    "a parameter": weights(tensors={"a": torch.nn.Parameter(ONES)}),
    "nested tensors": weights(tensors={"a": [ONES]}),
    "a tensor that learns": weights(tensors={"normalizer": torch.ones(9, dtype=torch.float64, requires_grad=True)}),
    "negated numbers": weights(tensors={"normalizer": torch.ones(9, dtype=torch.float64)._neg_view()}),
    "a missing tensor": weights(drop="network.actor.head.weight"),
    "another shape": weights(tensors={"network.actor.head.weight": torch.ones(3, 64)}),
    "a tensor too many": weights(tensors={"network.more": ONES}),
    "weights that are NaN": weights(tensors={"network.actor.head.weight": torch.full((2, 64), torch.nan)}),
    "a long tail": weights(tensors={"optimizer": torch.zeros(5_000_000)}),
    "a normaliser that is NaN": weights(tensors={"normalizer": torch.full((9,), torch.nan, dtype=torch.float64)}),
    "a short normaliser": weights(tensors={"normalizer": torch.ones(7, dtype=torch.float64)}),
    "a negative count": weights(tensors={"normalizer": -torch.ones(9, dtype=torch.float64)}),
    "a flat normaliser": weights(tensors={"normalizer": torch.ones(3, 3, dtype=torch.float64)}),
    # archives and pickles
    "a packed bomb": pickled(b"\x80\x02}.", {"data/0": bytes(20_000_000)}, packed=True),
    "a packed pickle": pickled(b"\x80\x02}" + b"0" * 20_000_000, packed=True),
    "many parts": many_parts,
    "the same bytes many times": overlapping,
    "ten gigabytes of nothing": pickled(call("builtins", "bytearray", b"(" + number(10**10) + b"t")),
    "a tensor out of nothing": pickled(call("torch", "FloatTensor", b"(" + number(10**10) + b"t")),
    "a set out of nothing": pickled(call("builtins", "set", b"(]t")),
    "a command in the pickle": pickled(call("os", "system", b"(" + text_of("touch ran") + b"t")),
    "a memo far away": pickled(b"\x80\x02}r\xff\xff\xff\xff."),
    "more numbers than bytes": pickled(tensor("1000", "1", 1000), {"data/0": bytes(16)}),
    "a claim of terabytes": pickled(tensor("1000000 1000000", "0 0", 4), {"data/0": bytes(16)}),
    "a negative shape": pickled(tensor("-4", "1", 4), {"data/0": bytes(16)}),
    "a start far away": pickled(tensor("4", "1", 4, offset=10**9), {"data/0": bytes(16)}),
    "numbers of another size": pickled(tensor("4", "1", 4, dtype="Double"), {"data/0": bytes(16)}),
    "a pickle without end": pickled(b"\x80\x02}"),
    "names that differ in case": pickled(b"\x80\x02}.", {"DATA.PKL": b"\x80\x02}."}),
    "a name outside": pickled(b"\x80\x02}.", {"../outside": b""}),
    # bytes
    "an empty file": bytes_of(b""),
    "text": bytes_of(b"hello\n"),
    "a pickle": bytes_of(pickle.dumps({"json": "{}"})),
    "zeros": bytes_of(bytes(100_000)),
    "cut short": changed(lambda data: data[: len(data) // 2]),
    "a byte off the front": changed(lambda data: data[1:]),
    "bytes before": changed(lambda data: bytes(100) + data),
    "bytes behind": changed(lambda data: data + bytes(100)),
    "twice": changed(lambda data: data + data),
    "a comment": changed(lambda data: data[:-2] + b"\x05\x00hello"),
    "eight gigabytes of nothing": sparse(8 << 30),
    "a FIFO": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a loop": lambda path: path.symlink_to(path),
}

SETTINGS: dict[str, Write] = {
    "a command": bytes_of(b'[environment]\nid = "subprocess:getoutput"\nkwargs = {cmd = "touch ran"}\n'),
    "an algorithm": bytes_of(b'algorithm.name = "os:system"\n'),
    "5,000 digits": bytes_of(f"seed = {DIGITS}\n".encode()),
    "4,000 digits": bytes_of(f"seed = {DIGITS[:4000]}\n".encode()),
    "hexadecimal digits": bytes_of(f"seed = 0x{'f' * 100_000}\n".encode()),
    "deep lists": bytes_of(b"seed = " + b"[" * DEEP),
    "deep tables": bytes_of(b"a = " + b"{a = " * DEEP),
    "deep names": bytes_of(b"[" + b".".join([b"a"] * 5_000) + b"]\n"),
    "text for a number": bytes_of(b'[stop]\nsteps = "many"\n'),
    "a number for text": bytes_of(b"[environment]\nid = 3\n"),
    "NaN": bytes_of(b"[environment]\nreward_scale = nan\n"),
    "infinity": bytes_of(b"[algorithm]\nlearning_rate = inf\n"),
    "negative": bytes_of(b"[checkpoint]\nevery_seconds = -1\n"),
    "many layers": bytes_of(b"[network]\nhidden = [" + b"1," * 40_000 + b"]\n"),
    "a long key": bytes_of(b"a" * 900_000 + b" = 1\n"),
    "a date": bytes_of(b"seed = 2020-01-01\n"),
    "no UTF-8": bytes_of(b"\xff\xfe"),
    "NUL": bytes_of(b"seed = 1\x00"),
    "a long file": bytes_of(b"#" * 3_000_000),
    "eight gigabytes of nothing": sparse(8 << 30),
    "a FIFO": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}

LINE = '{{"steps": {0}, "seconds": {1}, "return_mean": {2}, "return_std": 1.0}}\n'
METRICS: dict[str, Write] = {
    "text": bytes_of(LINE.format('"a"', 1, 1).encode() + LINE.format(1, '"b"', 1).encode()),
    "text for a return": bytes_of(LINE.format(1, 1.0, '"c"').encode()),
    "a list for a return": bytes_of(LINE.format(1, 1.0, "[1]").encode()),
    "5,000 digits": bytes_of(LINE.format(DIGITS, 1, 1).encode()),
    "4,000 digits for a return": bytes_of(LINE.format(1, 1, DIGITS[:4000]).encode()),
    "large numbers": bytes_of((LINE.format(2**63, 1e300, 1e308) + LINE.format(2**63, 1e308, -1e308)).encode()),
    "no numbers": bytes_of(LINE.format(1, "NaN", "Infinity").encode() * 3),
    "deep lists": bytes_of(b"[" * DEEP + b"\n"),
    "deep tables": bytes_of(b'{"steps":' * 7_000),
    "one long line": bytes_of(b'{"steps": 1, "a": "' + b"a" * 20_000_000 + b'"}\n'),
    "many lines": bytes_of(LINE.format(1, 1.0, 1.0).encode() * 15_000),
    "many lists": bytes_of((b'{"steps": 1, "a": [' + b"[]," * 15_000 + b"0]}\n") * 3),
    "no UTF-8": bytes_of(b"\xff\xfe\n"),
    "NUL": bytes_of(bytes(10_000)),
    "nothing": bytes_of(b""),
    "eight gigabytes of nothing": sparse(8 << 30),
    "eight megabytes of nothing": sparse(1 << 23),
    "a FIFO": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}

SOLVED = '"ended": {"reason": "solved"}'
FACTS: dict[str, Write] = {
    "text": bytes_of(b"hello\n"),
    "a text": bytes_of(b'"ended"'),
    "a number": bytes_of(b"3"),
    "a list": bytes_of(b'["ended"]'),
    "null": bytes_of(b"null"),
    "text for an end": bytes_of(b'{"ended": "solved"}'),
    "a list for an end": bytes_of(b'{"ended": ["reason", "solved"]}'),
    "NaN for an end": bytes_of(b'{"ended": NaN}'),
    "NaN for a reason": bytes_of(b'{"ended": {"reason": NaN}}'),
    "a list for a reason": bytes_of(b'{"ended": {"reason": ["solved"]}}'),
    "no reason": bytes_of(b'{"ended": {}}'),
    "5,000 digits": bytes_of(f'{{{SOLVED}, "seed": {DIGITS}}}'.encode()),
    "4,000 digits": bytes_of(f'{{{SOLVED}, "seed": {DIGITS[:4000]}}}'.encode()),
    "deep lists": bytes_of(f'{{{SOLVED}, "a": '.encode() + b"[" * DEEP + b"]" * DEEP + b"}"),
    "deep tables": bytes_of(b'{"ended":' * DEEP + b"1" + b"}" * DEEP),
    "half a letter": bytes_of(f'{{{SOLVED}, "a": "\\ud800"}}'.encode()),
    "no UTF-8": bytes_of(f'{{{SOLVED}, "a": "'.encode() + b'\xff"}'),
    "NUL": bytes_of(f"{{{SOLVED}}}".encode() + b"\x00"),
    "cut short": bytes_of(f"{{{SOLVED}".encode()),
    "twice": bytes_of(f"{{{SOLVED}}}".encode() * 2),
    "a long file": bytes_of(f"{{{SOLVED}}}".encode() + b" " * 5_000_000),
    "nothing": bytes_of(b""),
    "eight gigabytes of nothing": sparse(8 << 30),
    "a FIFO": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}
