"""What a run may ask of a Ray cluster."""

from typing import Any

import pytest

from marl.cluster.fleets.ray.settings import RaySettings, parse_nodes
from marl.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"), [("1", (1, 1)), ("4", (4, 4)), ("2-16", (2, 16)), ("3-3", (3, 3)), ("99999", (99999, 99999))]
)
def test_numbers_of_nodes(text: str, expected: tuple[int, int]) -> None:
    assert parse_nodes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "4-2", "0-3", "2-", "-2", "2-3-4", "two", "1.5", "2 - 3", "1e3", "٣", "100000", " 2", "2\n"]
)
def test_what_is_no_number_of_nodes(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--nodes: expected a number like 4, or a range like 2-16, got "):
        parse_nodes(text)


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"nodes": (3, 2)}, "--nodes"),
        ({"nodes": (-1, 2)}, "--nodes"),
        ({"cores": -1}, "--cores-per-node"),
        ({"gpus": -0.5}, "--gpus"),
        ({"gpus": float("nan")}, "--gpus"),
        ({"gpus": float("inf")}, "--gpus"),
        ({"spread": "WIDE"}, "--ray-spread"),
        ({"resources": {"tape": 0.0}}, "--ray-resource"),
        ({"resources": {"CPU": 1.0}}, "--ray-resource"),
        ({"resources": {"memory": 1e9}}, "--ray-resource"),
        ({"resources": {"tape": float("nan")}}, "--ray-resource"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}: expected"):
        RaySettings(**wrong)
