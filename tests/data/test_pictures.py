import pytest

from marl.data.pictures import flat_note, flat_pictures
from marl.data.spaces import Part, Parts
from marl.errors import ConfigError
from marl.networks.build_network import actor_critic
from marl.networks.settings import NetworkSettings
from tests.plain_spaces import plain_spaces

GREY, STACK = Part((84, 84), "uint8"), Part((4, 84, 84, 3), "uint8")
RESHAPE = r"ReshapeObservation\(environment, \(84, 84, 1\)\)"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (GREY, "observation is a picture [84, 84] without channels: hidden layers see it as a row of 7,056 numbers"),
        ({"eye": (GREY, Part((2,)))}, "observation eye/0 is a picture [84, 84] without channels"),
        (STACK, "observation is a stack [4, 84, 84, 3] of pictures with channels"),
        (Part((4, 3, 84, 84), "uint8"), "make each picture grey before they are stacked"),
    ],
)
def test_bytes_that_look_like_pictures(parts: Parts, words: str) -> None:
    assert words in str(flat_note(parts))


@pytest.mark.parametrize(
    "part",
    [
        Part((84, 84, 1), "uint8"),
        Part((84, 84)),
        Part((128,), "uint8"),
        Part((6, 7), "uint8"),
        Part((4, 6, 84, 3), "uint8"),
        Part((8, 8), "int32", (2,) * 64, (0,) * 64),
    ],
)
def test_all_else_does_not(part: Part) -> None:
    assert flat_pictures(part) is None
    assert flat_note({"a": part}) is None


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (GREY.shape, f"is a picture .* without channels: add a dimension, such as gymnasium.wrappers.{RESHAPE}$"),
        (STACK.shape, "is a stack .*: make each picture grey before they are stacked, by .*GrayscaleObservation$"),
    ],
)
def test_the_refusal_of_convolutions_says_what_to_do(shape: tuple[int, ...], words: str) -> None:
    spaces = plain_spaces(shape, num_actions=2, observation_dtype="uint8")
    with pytest.raises(ConfigError, match=f"network.encoder: expected pictures for 'nature' .*, and .* {words}"):
        actor_critic(spaces, NetworkSettings(encoder="nature"), 1)
