"""Which spaces are the same: a file, a parent and a child answer alike, and name the leaf that differs."""

from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces

from marl.algorithms.build import build_network
from marl.cluster.handshake import make_hello
from marl.cluster.runs.restore import demand_same_spaces
from marl.config.files import load_config
from marl.data.spaces import Spaces, differences
from marl.environments.describe import describe
from marl.errors import WeightsFileError
from marl.wire.agreement import compare
from marl.wire.hello import Hello, Welcome, from_info, to_info

X, Y = spaces.Box(-9, 9, (2,), np.float32), spaces.Box(-9, 9, (3,), np.float32)
TWO = spaces.Discrete(2)


def box(high: float) -> spaces.Box:
    return spaces.Box(-1, high, (2,), np.float32)


def ordered(**entries: spaces.Space) -> spaces.Dict:
    return spaces.Dict(OrderedDict(entries))


SAME = [
    (ordered(a=X, b=Y), ordered(b=Y, a=X)),
    (spaces.Tuple([ordered(a=X, b=TWO)]), spaces.Tuple([ordered(b=TWO, a=X)])),
    (spaces.Dict(a=X, b=Y), spaces.Dict({"b": Y, "a": X}, sort_keys=False)),
]
# The places that differ, as a file's refusal names them, and as a child's does. A path with a "/" in a name is the
# same for both, and then only the fingerprint differs.
DIFFERENT: list[tuple[spaces.Space, spaces.Space, list[str], list[str]]] = [
    (spaces.Tuple([X]), spaces.Dict({"0": X}), ["observations"], ["observations (0)", "observations 0"]),
    (spaces.Tuple([X]), X, ["observations"], ["observations (0)", "observations"]),
    (spaces.Dict({"": X}), X, ["observations"], ["observations ", "observations"]),
    (spaces.Dict({"a/b": X}), ordered(a=ordered(b=X)), ["observation a/b", "observation a"], []),
    (
        spaces.Dict(arm=spaces.Tuple([X, Y])),
        spaces.Dict(arm=spaces.Tuple([Y, X])),
        ["observation arm/0 shape", "observation arm/1 shape"],
        ["observations arm/(0)", "observations arm/(1)"],
    ),
    (spaces.Dict(a=X, b=Y), spaces.Dict(a=X), ["observation b"], ["observations b"]),
    (spaces.Tuple([X]), spaces.Tuple([X, X]), ["observation 1"], ["observations (1)"]),
    (spaces.Dict(a=X), spaces.Dict(A=X), ["observation a", "observation A"], ["observations a", "observations A"]),
    (spaces.Dict(a=spaces.MultiBinary(1)), spaces.Dict(a=TWO), ["observation a shape"], ["observations a"]),
    (spaces.Discrete(2, start=1), TWO, ["observation starts"], ["observations"]),
    (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([3, 2]), ["observation categories"], ["observations"]),
]


def hello_of(found: Spaces) -> Hello:
    config = load_config("CartPole-v1", {"seed": 1})
    network = build_network(config.algorithm, found, config.network, 1)
    return make_hello(config, found, network, run_id="run", term=1, instance="a")


def refusal(parent: Spaces, child: Spaces) -> str:
    """What a parent and a child of these spaces say; nothing if they fit."""
    ours, theirs = from_info(to_info(hello_of(parent)), Hello), hello_of(child)
    answer = Welcome(
        fingerprint=theirs.fingerprint,
        spaces=theirs.spaces,
        num_bytes=theirs.num_bytes,
        codecs=theirs.codecs,
        instance="b",
        workers=1,
        cores=1,
        host={},
    )
    return compare(ours, answer)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_order_of_entries_does_not_matter(one: spaces.Space, other: spaces.Space) -> None:
    """Neither of observations nor of actions: a network's inputs and outputs are in the order of the names."""
    for before, now in ((describe(one, TWO), describe(other, TWO)), (describe(X, one), describe(X, other))):
        assert differences(before, now) == []
        assert refusal(before, now) == ""


@pytest.mark.parametrize(("one", "other", "places", "leaves"), DIFFERENT)
def test_what_differs_is_named(one: spaces.Space, other: spaces.Space, places: list[str], leaves: list[str]) -> None:
    before, now = describe(one, TWO), describe(other, TWO)
    assert [place for place, _, _ in differences(before, now)] == places
    assert sorted(place for place, _, _ in differences(now, before)) == sorted(places)
    with pytest.raises(WeightsFileError, match=r"was trained on observation.*, Env now has observation"):
        demand_same_spaces("weights.pt", before, now, "Env", {})
    line = refusal(before, now)
    assert [part.split(":")[0] for part in line.split("; ") if part.startswith("environment")] == [
        f"environment {leaf}" for leaf in leaves
    ]
    assert "network fingerprint" in line
    assert "\n" not in line


def test_bounds_and_first_categories_of_actions_are_named() -> None:
    for one, other, said in (
        (box(1), box(2), "environment actions: parent [2] from -1 to 1, child [2] from -1 to 2;"),
        (TWO, spaces.Discrete(2, start=1), "parent of 2 categories, child of 2 categories from 1;"),
        (spaces.Dict(a=TWO, b=box(1)), spaces.Dict(a=TWO, b=box(np.inf)), "environment actions b: parent [2] from"),
    ):
        assert said in refusal(describe(X, one), describe(X, other))


def test_spaces_of_many_entries_fit_into_a_hello() -> None:
    many = {f"sensor_{number:03}": X for number in range(100)}
    whole = describe(spaces.Dict(many), TWO)
    assert refusal(whole, whole) == ""
    line = refusal(whole, describe(spaces.Dict({**many, "sensor_001": Y}), TWO))
    assert "environment observations sensor_001: parent [2] of float32, child [3] of float32; bytes of" in line
    assert len(line) < 400
    fewer = refusal(whole, describe(spaces.Dict(dict(list(many.items())[:50])), TWO))
    assert "sensor_" not in fewer  # the descriptions end before the first entry that one of them lacks
    others = refusal(whole, describe(spaces.Dict(dict.fromkeys(many, Y)), TWO))
    assert "sensor_002: parent [2] of float32, child [3] of float32; 2" in others
    with pytest.raises(WeightsFileError, match=r"sensor_005 shape .* and 94 more, Env now has"):
        demand_same_spaces("weights.pt", whole, describe(spaces.Dict(dict.fromkeys(many, Y)), TWO), "Env", {})


def test_a_name_that_no_terminal_shows_is_the_same_at_both() -> None:
    odd = describe(spaces.Dict({"arm\n\x1b[31m": X}), TWO)
    assert refusal(odd, odd) == ""
