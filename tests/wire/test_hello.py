"""The first words: they survive the journey, and every difference is named with both values."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.errors import HandshakeRefused, MessageRefused
from marl.networks.settings import NetworkSettings
from marl.wire.agreement import agree_protocol, compare
from marl.wire.hello import MAX_DEPTH, Hello, Refusal, Welcome, from_info, to_info
from marl.wire.protocol import PROTOCOL


def hello(**changes: Any) -> Hello:
    fields: dict[str, Any] = {
        **{"run_id": "20240101-cartpole", "term": 3, "instance": "9c4e", "fingerprint": "ab" * 32},
        **{"num_bytes": 18_180, "codecs": ("float32", "int8"), "seed": 7, "rank": 1},
        "environment": {"id": "CartPole-v1", "kwargs": {"nested": {"gravity": 9.8}}, "per_worker": 16},
        "network": {"hidden": (64, 64), "activation": "tanh"},
        "exploration": {"sampler": ""},
        **{"algorithm": {"name": "a3c", "discount": 0.99}, "optimizer": {"name": "adam"}},
        "replay": {"ratio": 1.0},
        "exchange": {"every": "5 seconds", "barrier": False},
    }
    return Hello(**{**fields, **changes})


def welcome(**changes: Any) -> Welcome:
    fields: dict[str, Any] = {"fingerprint": "ab" * 32, "num_bytes": 18_180, "codecs": ("float32", "int8")}
    return Welcome(**{**fields, "instance": "5f", "workers": 3, "cores": 4, "host": {"python": "3.11.7"}, **changes})


def test_words_survive_the_journey() -> None:
    came = from_info(to_info(hello()), Hello)
    assert came.network == {"hidden": [64, 64], "activation": "tanh"}
    assert msgspec.convert(came.network, NetworkSettings, strict=False) == NetworkSettings()
    assert from_info(to_info(welcome()), Welcome) == welcome()
    refusal = Refusal(reason="the parent offers Foo-v1, which is not installed here", permanent=True)
    assert from_info(to_info(refusal), Refusal) == refusal


def test_nodes_that_fit_have_nothing_to_say() -> None:
    assert compare(hello(), welcome()) == ""


@pytest.mark.parametrize(
    ("changes", "parent", "child"),
    [
        ({"num_bytes": 18_184}, "18180", "18184"),
        ({"fingerprint": "cd" * 32}, "abababab", "cdcdcdcd"),
        ({"codecs": ("int4",)}, "float32, int8", "int4"),
        ({"protocol": PROTOCOL + 1}, f"{PROTOCOL}", f"child {PROTOCOL + 1}"),
    ],
)
def test_a_difference_is_one_line_with_both_values(changes: dict[str, Any], parent: str, child: str) -> None:
    line = compare(hello(), welcome(**changes))
    assert f"parent {parent}" in line or f"to {parent}" in line
    assert child in line
    assert "\n" not in line
    assert line.count(": parent ") == 1


def test_all_differences_are_named() -> None:
    line = compare(hello(), welcome(num_bytes=1, fingerprint="0" * 64, codecs=("x",), protocol=9))
    assert line.count(": parent ") == 4


@pytest.mark.parametrize(
    ("theirs", "ours", "agreed"),
    [((1, 1), (1, 1), 1), ((1, 2), (2, 3), 2), ((2, 3), (1, 2), 2), ((3, 4), (3, 4), 4), ((1, 9), (4, 5), 5)],
)
def test_neighbouring_protocols_agree(theirs: tuple[int, int], ours: tuple[int, int], agreed: int) -> None:
    offer = hello(oldest_protocol=theirs[0], newest_protocol=theirs[1])
    assert agree_protocol(offer, oldest=ours[0], newest=ours[1]) == agreed


@pytest.mark.parametrize(("theirs", "ours"), [((1, 2), (3, 4)), ((5, 6), (3, 4))])
def test_strange_protocols_do_not(theirs: tuple[int, int], ours: tuple[int, int]) -> None:
    offer = hello(oldest_protocol=theirs[0], newest_protocol=theirs[1])
    with pytest.raises(
        HandshakeRefused, match=f"protocol {ours[0]} to {ours[1]}, the other {theirs[0]} to {theirs[1]}"
    ):
        agree_protocol(offer, oldest=ours[0], newest=ours[1])


def test_a_newer_hello_is_told_by_its_protocol_not_by_its_new_fields() -> None:
    fields = msgspec.to_builtins(hello(oldest_protocol=PROTOCOL + 2, newest_protocol=PROTOCOL + 3))
    text = json.dumps({**fields, "novelty": 1})
    with pytest.raises(HandshakeRefused, match=f"the other {PROTOCOL + 2} to {PROTOCOL + 3}"):
        from_info({"json": text}, Hello)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**63, {"a": math.nan}, [[-(2**70)]], {1: 2}, b"x", {3}])
def test_a_configuration_is_plain(value: Any) -> None:
    with pytest.raises(ValueError, match="configuration"):
        hello(environment={"kwargs": value})


def test_a_configuration_is_shallow() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    with pytest.raises(ValueError, match="levels"):
        hello(environment={"kwargs": deep})


@pytest.mark.parametrize(
    "changes",
    [{"term": -1}, {"fingerprint": "AB" * 32}, {"codecs": ()}, {"run_id": ""}, {"seed": 2**64}],
)
def test_what_would_be_refused_is_not_sent(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageRefused):
        to_info(hello(**changes))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_any_text_is_accepted_or_refused(data: st.DataObject) -> None:
    fields = msgspec.to_builtins(hello())
    fields[data.draw(st.sampled_from([*fields, "novelty"]))] = data.draw(json_values)
    text = data.draw(st.one_of(st.text(max_size=20), st.just(json.dumps(fields)), st.just("[" * 5000)))
    for expected in (Hello, Welcome, Refusal):
        try:
            assert isinstance(from_info({"json": text}, expected), expected)
        except (MessageRefused, HandshakeRefused) as error:
            reason = str(error)
            assert len(reason) < 1000, "as long as what came"


@pytest.mark.parametrize("info", [{}, {"json": 3}, {"json": "{}", "more": 1}])
def test_other_info_is_refused(info: dict[str, Any]) -> None:
    with pytest.raises(MessageRefused, match="one JSON text"):
        from_info(info, Hello)


EVIL = "\x1b[2J\nError: \u202eall is lost\u200b\x9b"
PLAIN = "?[2J Error: ?all is lost??"


def test_words_are_printable_once_they_are_read() -> None:
    came = from_info(to_info(hello(run_id=EVIL, instance=EVIL, spaces=EVIL)), Hello)
    assert (came.run_id, came.instance, came.spaces) == (PLAIN,) * 3
    back = from_info(to_info(welcome(spaces=EVIL, instance=EVIL, host={EVIL: EVIL})), Welcome)
    assert (back.spaces, back.instance, back.host) == (PLAIN, PLAIN, {PLAIN: PLAIN})
    assert from_info(to_info(Refusal(reason=EVIL, permanent=True)), Refusal).reason == PLAIN


def test_what_a_configuration_holds_is_data() -> None:
    """The map of a lake has line breaks; they are not for a terminal."""
    kwargs = {"map": "SFFF\nFHFG", "title": "non\xa0breaking"}
    environment = from_info(to_info(hello(environment={"id": "Lake-v1", "kwargs": kwargs})), Hello).environment
    assert environment["kwargs"] == kwargs


@pytest.mark.parametrize("section", ["environment", "algorithm", "exploration"])
def test_names_of_a_configuration_are_words(section: str) -> None:
    for bad in ({"id": "Cart\x1bPole"}, {"name": "a3c\n"}, {"sampler": "x" * 300}, {"kw\nargs": 1}):
        with pytest.raises(ValueError, match=r"expected (a name|names)") as error:
            hello(**{section: bad})
        assert str(error.value).isprintable()


@pytest.mark.parametrize("text", [json.dumps({EVIL: 1}), json.dumps({"reason": EVIL, EVIL: 1}), '{"' + EVIL])
@pytest.mark.parametrize("kind", [Hello, Welcome, Refusal])
def test_what_is_wrong_with_words_is_printable(text: str, kind: type[Refusal]) -> None:
    with pytest.raises(MessageRefused) as error:
        from_info({"json": text}, kind)
    assert str(error.value).isprintable()
