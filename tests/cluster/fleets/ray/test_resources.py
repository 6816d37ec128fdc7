"""What a run asks of a cluster where it says only a part of it."""

from typing import Any

import pytest

from marl.cluster.fleets.ray.resources import asked, free_in_words
from marl.cluster.fleets.ray.settings import RaySettings
from marl.errors import ConfigError

NODES = {"a": {"CPU": 8.0, "GPU": 1.0}, "b": {"CPU": 4.5}, "c": {"CPU": 0.5}, "d": {"CPU": 2.0, "tape": 1.0}}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (3, 3, {"CPU": 2.0})),  # as many as the smallest of those with room has
        ({"nodes": (2, 2)}, (2, 2, {"CPU": 4.0})),
        ({"nodes": (1, 16)}, (1, 16, {"CPU": 8.0})),
        ({"cores": 4}, (2, 2, {"CPU": 4.0})),
        ({"cores": 3, "nodes": (9, 9)}, (9, 9, {"CPU": 3.0})),  # more than there is: Ray may get more nodes
        ({"nodes": (9, 9)}, (9, 9, {"CPU": 2.0})),
        ({"gpus": 1.0}, (1, 1, {"CPU": 8.0, "GPU": 1.0})),
        ({"gpus": 0.5, "cores": 2}, (1, 1, {"CPU": 2.0, "GPU": 0.5})),
        ({"resources": {"tape": 1.0}}, (1, 1, {"CPU": 2.0, "tape": 1.0})),
    ],
)
def test_what_is_left_open_is_what_there_is_room_for(settings: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert tuple(asked(RaySettings(**settings), NODES)) == expected


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [({"cores": 9}, "9 CPU"), ({"gpus": 2.0}, "1 CPU, 2 GPU"), ({"resources": {"disk": 3.0}}, "1 CPU, 3 disk")],
)
def test_room_for_none(settings: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"expected a node with {wanted} free, got a 8 CPU, 1 GPU; b 4.5 CPU; "):
        asked(RaySettings(**settings), NODES)


def test_no_number_of_cores_is_assumed_where_nothing_is_free() -> None:
    assert asked(RaySettings(nodes=(2, 2)), {}).bundle == {"CPU": 1.0}
    with pytest.raises(ConfigError, match="got no node at all"):
        asked(RaySettings(), {})


def test_rays_own_names_are_not_shown() -> None:
    has = {"CPU": 1.0, "memory": 5e9, "object_store_memory": 1e9, "node:127.0.0.2": 1.0, "CPU_group_0_ab": 1.0}
    assert free_in_words({"a": has, "b": {"memory": 1.0}}) == "a 1 CPU; b nothing"
