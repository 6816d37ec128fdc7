"""The first words: what parent and child must share, compared before a single weight is sent.

``Hello`` (parent) is answered by ``Welcome`` or ``Refusal`` (child). Each travels as one JSON text in the ``info`` of a
message of its kind, without arrays.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from marl.errors import HandshakeRefused, MessageRefused
from marl.wire.header import MAX_INT
from marl.wire.message import Kind, Value
from marl.wire.protocol import OLDEST_PROTOCOL, PROTOCOL, foreign_protocol
from marl.words import printable

MAX_DEPTH = 8  # of nested keyword arguments in a configuration
MOST_TEXT, MOST_LINE = 4096, 1024  # letters

_Word = Annotated[str, Meta(min_length=1, max_length=128)]
_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Line = Annotated[str, Meta(max_length=MOST_LINE)]
_Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
_Codecs = Annotated[tuple[_Word, ...], Meta(min_length=1, max_length=16)]
_Protocol = Annotated[int, Meta(ge=1, le=2**31)]


NAMES = frozenset(("id", "name", "sampler"))  # keys of the configuration that name something


class Hello(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What the parent is, and the run that it offers."""

    kind: ClassVar[Kind] = Kind.HELLO
    oldest_protocol: _Protocol = OLDEST_PROTOCOL
    newest_protocol: _Protocol = PROTOCOL
    run_id: _Word
    term: _Count = msgspec.field(name="epoch")  # number of the parent process within the run, from 1
    instance: _Word  # random, new at each start: two parents of one term differ in it
    fingerprint: _Hash  # of the network, see fingerprint.py
    spaces: _Line = ""  # of the environment, for people: "NAME: WORDS" of each leaf, with "; " between
    num_bytes: _Count  # of the flat weights
    codecs: _Codecs
    seed: _Count
    deterministic: bool = False  # the same seed gives the same bits
    rank: _Count  # of this child among all: no two draw the same numbers
    children: Annotated[int, Meta(ge=1, le=2**20)] = 1  # how many there are to be
    # Seconds of training so far: schedules by time count from them on. Clocks of two machines are never compared.
    elapsed_s: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    busy: bool | UnsetType = UNSET  # uploads are to say how long the child was busy, for virtual time
    environment: dict[str, Any]  # sections of the configuration; never paths, never report settings
    network: dict[str, Any]
    exploration: dict[str, Any]
    algorithm: dict[str, Any]
    optimizer: dict[str, Any]
    replay: dict[str, Any]
    exchange: dict[str, Any]

    def __post_init__(self) -> None:
        """Also run on what comes from elsewhere, where a ValueError becomes a refusal."""
        for section in (
            self.environment,
            self.network,
            self.exploration,
            self.algorithm,
            self.optimizer,
            self.replay,
            self.exchange,
        ):
            _check_plain(section, MAX_DEPTH)
            for key in NAMES & section.keys():
                if isinstance(section[key], str) and section[key] != printable(section[key], 256):
                    raise ValueError(f"expected a name as {key}, got {section[key]!r:.80}")


class Welcome(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The child has built that network, and says what it built it on."""

    kind: ClassVar[Kind] = Kind.WELCOME
    protocol: _Protocol = PROTOCOL  # the one to speak from now on
    fingerprint: _Hash
    spaces: _Line = ""
    num_bytes: _Count
    codecs: _Codecs
    instance: _Word  # random, new for each run that the child serves: its counters then begin at 0
    workers: Annotated[int, Meta(ge=1, le=2**20)]
    cores: Annotated[int, Meta(ge=1, le=2**20)]
    host: Annotated[dict[_Word, _Line], Meta(max_length=64)]


class Refusal(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Why not, in one line that names both sides' values and the remedy."""

    kind: ClassVar[Kind] = Kind.REFUSAL
    reason: Annotated[str, Meta(min_length=1, max_length=MOST_TEXT)]
    permanent: bool  # trying again cannot help
    superseded: bool = False  # a newer parent leads the run: the one refused must stop


class _Range(msgspec.Struct):
    """The two fields of a Hello that no protocol may rename."""

    oldest_protocol: int = 0
    newest_protocol: int = 0


S = TypeVar("S", bound=Hello | Welcome | Refusal)


def to_info(words: Hello | Welcome | Refusal) -> dict[str, Value]:
    """The ``info`` of the message that carries ``words``; what the other side would refuse is refused here.

    Raises:
        MessageRefused: a field is out of bounds.
    """
    try:
        info: dict[str, Value] = {"json": msgspec.json.encode(words, order="deterministic").decode()}
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MessageRefused(f"cannot encode a {words.kind}: {error}") from error
    from_info(info, type(words))
    return info


def from_info(info: Mapping[str, Value], expected: type[S]) -> S:
    """Read words that came from the other side.

    Raises:
        HandshakeRefused: a Hello of protocols that this node does not speak.
        MessageRefused: malformed in any other way.
    """
    text = info.get("json")
    if not isinstance(text, str) or len(info) > 1:
        raise MessageRefused(f"expected a {expected.kind} as one JSON text, got {sorted(info)!r:.200}")
    try:
        return _in_plain_words(msgspec.json.decode(text, type=expected))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if expected is Hello:
            _check_range(text)
        raise MessageRefused(printable(f"malformed {expected.kind}: {error}", 220)) from error


def _in_plain_words(words: S) -> S:
    """With every word of it fit for a terminal and a log. The sections of a configuration stay as they are: they are
    data, and their names were checked.
    """
    texts = {
        name: printable(value, MOST_TEXT)
        for name, value in msgspec.structs.asdict(words).items()
        if isinstance(value, str)
    }
    if isinstance(words, Welcome):
        return msgspec.structs.replace(
            words, **texts, host={printable(key): printable(value) for key, value in words.host.items()}
        )
    return msgspec.structs.replace(words, **texts)


def _check_range(text: str) -> None:
    """Name the protocols, where they are the reason why a Hello looks foreign."""
    try:
        theirs = msgspec.json.decode(text, type=_Range)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return
    if theirs.oldest_protocol > PROTOCOL or 0 < theirs.newest_protocol < OLDEST_PROTOCOL:
        raise HandshakeRefused(foreign_protocol(f"{theirs.oldest_protocol} to {theirs.newest_protocol}"))


def _check_plain(value: object, depth: int) -> None:
    """A configuration is shallow, its numbers are finite and fit 64 bits, and JSON changes nothing of it."""
    match value:
        case dict() | list() | tuple() if depth == 0:
            raise ValueError(f"expected at most {MAX_DEPTH} levels of configuration")
        case dict():
            if not all(isinstance(key, str) and key == printable(key) for key in value):
                raise ValueError(f"expected names as keys of the configuration, got {list(value)!r:.80}")
            for item in value.values():
                _check_plain(item, depth - 1)
        case list() | tuple():
            for item in value:
                _check_plain(item, depth - 1)
        case float() if not math.isfinite(value):
            raise ValueError("expected finite numbers in the configuration")
        case int() if not -MAX_INT <= value <= MAX_INT:
            raise ValueError("expected numbers of at most 64 bits in the configuration")
        case None | bool() | int() | float() | str():
            pass
        case _:
            raise ValueError(f"expected text, numbers and lists in the configuration, got {type(value).__name__}")
