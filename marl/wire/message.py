"""What travels between parent and child: the nouns. ``header.py`` and ``payload.py`` turn them into bytes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from torch import Tensor

from marl.errors import MessageRefused

Buffer: TypeAlias = bytes | bytearray | memoryview
Array: TypeAlias = Tensor | Buffer  # contiguous, on the CPU, unchanged until it is sent
Value: TypeAlias = bool | int | float | str | list[bool | int | float | str | None] | None


class Kind(StrEnum):
    """What a message is for."""

    PROBE = "probe"  # how fast is this link? Before a hello
    HELLO = "hello"
    WELCOME = "welcome"
    REFUSAL = "refusal"
    UPLOAD = "upload"
    ANSWER = "answer"  # from the parent: a broadcast of weights; credit; actions
    FLUSH = "call"  # to a straggler: upload at once what you have
    FULL = "full"  # give me everything: full weights instead of a delta
    TELEMETRY = "telemetry"
    STOP = "stop"


class Message(NamedTuple):
    """One thing said by one node to another."""

    kind: Kind
    sender: str
    term: int = 0  # number of the parent process within the run
    version: int = 0  # of the weights that it is about
    counter: int = 0  # of the sender's messages of this kind: a repeated one is recognised
    arrays: Mapping[str, Array] = {}  # received: tensors over the receive buffers
    info: Mapping[str, Value] = {}  # small typed values; numbers are finite


def tensor_of(message: Message, name: str) -> Tensor:
    """A tensor that came with a message."""
    tensor = message.arrays[name]
    assert isinstance(tensor, Tensor)
    return tensor


def count_of(message: Message, name: str) -> int:
    """A number of the message's ``info`` that is 0 or more.

    Raises:
        MessageRefused: it is none.
    """
    value = message.info.get(name)
    if not isinstance(value, int) or value < 0:
        raise MessageRefused(f"{message.kind} from {message.sender}: expected a count as {name}, got {value!r:.40}")
    return value
