"""Arguments of an environment that TOML or JSON lacks: written so that they come back, or refused with their key."""

import datetime
import enum
import json
import tomllib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.config.files import load_config, to_toml
from marl.config.overrides import parse_override
from marl.config.plain import DEPTH
from marl.config.rules import demand_sendable
from marl.config.settings import Config, from_tree, to_tree
from marl.errors import ConfigError
from marl.wire.hello import _check_plain
from tests.config.cases import refused


class Colour(enum.IntEnum):
    RED = 1


def given(value: Any, key: str = "x") -> Config:
    """A user's program gives one argument."""
    return load_config(None, {"environment.kwargs": {key: value}})


def same(one: Any, other: Any) -> bool:
    """Equal in kind, dtype and bits, however deep."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)  # also of -0.0 and nan


KEPT = [
    None,
    [None, 1],
    {"limit": None, "deep": {"er": None}},
    (84, 84),
    (),
    ((1, 2), [3, (4,)]),
    float("inf"),
    float("-inf"),
    float("nan"),
    [float("nan"), -0.0, 5e-324, 1e22],
    2**63 - 1,
    -(2**63) + 1,
    True,
    "",
    'quotes " and \\ and \x7f and \x00\n',
    {"": 1, "a.b": 2, 'c"d': 3, "ü": {"e f": {}}},
    [{"a": [{}]}, {"b": None}],
    np.zeros(3),
    np.array([[1.5, np.nan], [-0.0, np.inf]], np.float32),
    np.array([[[True]]]),
    np.arange(4, dtype=np.uint8).reshape(2, 2),
    np.array(7),
    {"none": False},
    {"none": 1.5},
    {"tuple": 3},
    {"float": 3.0},
    {"array": [1], "dtype": "object"},
]


@pytest.mark.parametrize("value", KEPT, ids=repr)
@pytest.mark.parametrize("key", ["x", "a.b", "none"])
def test_what_is_kept_is_the_same_everywhere(value: Any, key: str) -> None:
    """In config.toml, in a weights file and in a parent's first message; ``none`` is also what stands for None."""
    config = given(value, key)
    tree = to_tree(config)
    for read in (
        from_tree(tomllib.loads(to_toml(config))),
        from_tree(json.loads(json.dumps(tree, allow_nan=False))),
        load_config(None, {"environment": {"kwargs": {key: value}}}),
    ):
        assert same(read.environment.kwargs, {key: value})
        assert same(to_tree(read), tree)  # by which a resumed run is compared
    _check_plain(tree["environment"], 8)
    demand_sendable(config)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.1), 0.10000000149011612),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        ([np.float64(2.0), (np.uint8(1),)], [2.0, (1,)]),
    ],
)
def test_numbers_of_numpy_become_pythons(value: Any, plain: Any) -> None:
    assert same(given(value).environment.kwargs["x"], plain)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, "environment.kwargs.x: expected what a file can hold"),
        (b"abc", "got bytes"),
        (print, "got builtin_function_or_method"),
        (Path("levels"), "got PosixPath"),
        (Colour.RED, "got Colour"),
        (OrderedDict(a=1), "got OrderedDict"),
        (1 + 2j, "got complex"),
        (np.longdouble(1) / 3, "got longdouble"),
        (np.datetime64("2024-01-01"), "got date"),
        (datetime.date(2024, 1, 1), "got date"),
        (np.array(["a"]), "got ndarray"),
        (np.zeros((0, 3)), "got an empty array"),
        (np.array([2**64 - 1], np.uint64), "got ndarray"),
        (2**63, "got int 9223372036854775808"),
        (10**400, "got int"),
        ("\ud800", "got str"),
        ({3: "three"}, "environment.kwargs.x: expected texts as keys, got 3"),
        ({"a\nb": 1}, "environment.kwargs.x: expected texts as keys, got 'a\\nb'"),
        ({"\udc80": 1}, "expected texts as keys"),
        ({"a": [1, {"b": {2}}]}, "environment.kwargs.x.a[1].b: expected what a file can hold"),
        ({"none": True}, "got dict {'none': True}"),
        ({"tuple": [1]}, "got dict {'tuple': [1]}"),
    ],
    ids=repr,
)
def test_what_would_be_lost_is_refused(value: Any, words: str) -> None:
    for settings in (
        {"environment.kwargs": {"x": value}},
        {"environment.kwargs.x": value},
        {"environment": {"kwargs": {"x": value}}},
    ):
        with pytest.raises(ConfigError) as caught:
            load_config("CartPole-v1", settings)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_levels_are_limited() -> None:
    value: Any = 1
    for _ in range(DEPTH):
        value = [value]
    assert given(value).environment.kwargs["x"] == value
    with pytest.raises(ConfigError, match="levels"):
        given([value])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigError, match="levels"):
        given(endless)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("environment.kwargs.limit=None", None),
        ("environment.kwargs.limit={none = true}", None),
        ('environment.kwargs.limit="None"', "None"),
        ("environment.kwargs.limit={tuple = [1, {none = true}]}", (1, None)),
        ("environment.kwargs={limit = {tuple = []}}", ()),
        ("environment.kwargs.limit=[inf]", [float("inf")]),
    ],
)
def test_the_shell_can_say_it_too(text: str, value: Any) -> None:
    path, parsed = parse_override(text)
    assert same(load_config("CartPole-v1", {path: parsed}).environment.kwargs, {"limit": value})


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[environment.kwargs]\nlimit = {none = true}\nsize = {array = [1, 2], dtype = "float16"}\n')
    assert same(load_config(path).environment.kwargs, {"limit": None, "size": np.array([1, 2], np.float16)})
    for wrong, words in (
        ('{array = [[1], [1, 2]], dtype = "int8"}', "environment.kwargs.a: expected numbers of int8 in equal rows"),
        ('{array = [300], dtype = "uint8"}', "environment.kwargs.a: expected numbers of uint8"),
        ("2024-01-01", "environment.kwargs.a: expected what a file can hold"),
    ):
        path.write_text(f"[environment.kwargs]\na = {wrong}\n")
        assert words in refused(path)


def test_none_is_kept_where_it_is_not_the_default() -> None:
    """Of an algorithm of the user's own, too: None was read back as the default."""
    config = load_config("CartPole-v1", {"algorithm.name": "tests.fake_algorithms:Careful", "algorithm.bound": None})
    assert config.algorithm.bound is None  # type: ignore[attr-defined]
    assert from_tree(tomllib.loads(to_toml(config))) == from_tree(to_tree(config)) == config
    assert "stop" in to_tree(config)
    assert "minutes" not in to_tree(config)["stop"]  # None by default: left out


def test_what_does_not_fit_into_the_first_message() -> None:
    demand_sendable(given([0] * 1000))
    with pytest.raises(ConfigError, match=r"environment\.kwargs: expected at most 32 KiB"):
        demand_sendable(given("x" * 40_000))


def test_every_setting_is_written_down() -> None:
    """Also those that are as they are by default: another version's defaults must not change a run."""
    assert to_tree(load_config("CartPole-v1"))["algorithm"]["schedule"] == "constant"
