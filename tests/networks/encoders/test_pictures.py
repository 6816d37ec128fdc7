"""Convolutions: sizes, orders of dimensions, and what is refused."""

import copy
import math
from typing import cast

import pytest
import torch

from marl.data.spaces import Part, Spaces
from marl.errors import ConfigError
from marl.networks.actor_critic import ActorCritic
from marl.networks.encoders.make_encoder import Combined, make_encoder
from marl.networks.encoders.pictures import AT_ONCE, CATEGORIES, FEATURES, Categories, Conv, PictureEncoder
from marl.networks.encoders.precision import computes_bfloat16
from marl.networks.settings import NetworkSettings
from marl.networks.torso import as_buffers
from tests.plain_spaces import plain_spaces


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator())


@pytest.mark.parametrize(
    ("shape", "kind", "numbers"),
    [
        # Weights and biases by hand: (in x side^2 + 1) x out of each layer.
        ((4, 84, 84), "auto", 32 * (4 * 64 + 1) + 64 * (32 * 16 + 1) + 64 * (64 * 9 + 1) + 512 * (64 * 49 + 1)),
        ((84, 84, 4), "nature", 32 * (4 * 64 + 1) + 64 * (32 * 16 + 1) + 64 * (64 * 9 + 1) + 512 * (64 * 49 + 1)),
        ((4, 84, 84), "dqn", 16 * (4 * 64 + 1) + 32 * (16 * 16 + 1) + 256 * (32 * 81 + 1)),
        ((7, 7, 3), "auto", 16 * (3 * (1 + CATEGORIES) * 9 + 1) + 32 * (16 * 9 + 1) + 128 * (32 * 49 + 1)),
        (
            (16, 16, 3),
            "impala",
            16 * (3 * 9 + 1) + 4 * 16 * (16 * 9 + 1)
            + 32 * (16 * 9 + 1) + 4 * 32 * (32 * 9 + 1)
            + 5 * 32 * (32 * 9 + 1)
            + 256 * (32 * 4 + 1),
        ),
    ],
)  # fmt: skip
def test_sizes(shape: tuple[int, ...], kind: str, numbers: int) -> None:
    encoder = PictureEncoder(Part(shape, "uint8"), kind, generator())
    assert sum(each.numel() for each in encoder.parameters()) == numbers
    rows = pixels(2, 3, shape[0] * shape[1] * shape[2])
    found = encoder(rows)
    assert found.shape == (2, 3, encoder.size)
    torch.testing.assert_close(encoder(rows[1, 2]), found[1, 2], rtol=1e-4, atol=1e-5)


def test_features_are_normalised_before_their_activation() -> None:
    encoder = PictureEncoder(Part((7, 7, 3), "uint8"), "auto", generator(), layer_norm=True)
    assert encoder.norm is not None
    with torch.no_grad():
        encoder.norm.bias.fill_(10.0)  # more than any deviation: nothing is cut
    found = encoder(pixels(5, 7 * 7 * 3)) - 10.0
    torch.testing.assert_close(found.mean(-1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(-1, correction=0), torch.ones(5), atol=1e-2, rtol=0)


def test_channels_may_come_first_or_last() -> None:
    first = PictureEncoder(Part((3, 8, 9), "uint8"), "auto", generator())
    last = PictureEncoder(Part((8, 9, 3), "uint8"), "auto", generator())
    picture = pixels(3, 8, 9)
    torch.testing.assert_close(first(picture.flatten()), last(picture.movedim(0, -1).flatten()))


@pytest.mark.parametrize(("kind", "side"), [("nature", 35), ("dqn", 19), ("impala", 7)])
def test_a_picture_that_is_too_small(kind: str, side: int) -> None:
    with pytest.raises(ConfigError, match=rf"at least \d+ x \d+ pixels for '{kind}', got {side} x 90"):
        PictureEncoder(Part((side, 90, 3), "uint8"), kind, generator())


@pytest.mark.parametrize("encoder", ["nature", "dqn", "impala"])
def test_there_must_be_a_picture(encoder: str) -> None:
    spaces = plain_spaces((4,), num_actions=2)
    with pytest.raises(ConfigError, match="and these observations have none"):
        make_encoder(spaces, NetworkSettings(encoder=encoder), generator())


def test_an_encoder_that_there_is_not() -> None:
    with pytest.raises(
        ConfigError, match=r"expected auto, mlp, nature, dqn, impala or package.module:Class, got 'resnet'"
    ):
        make_encoder(plain_spaces((4,), num_actions=2), NetworkSettings(encoder="resnet"), generator())


TREE = Spaces(
    {"camera": Part((8, 8, 3), "uint8"), "arm": Part((2,)), "tool": Part((), "int32", (3,), (0,))},
    Part((), "int32", (2,), (0,)),
)


def test_pictures_and_numbers_together() -> None:
    settings = NetworkSettings(hidden=(16,))
    encoder, size = make_encoder(TREE, settings, generator())
    assert isinstance(encoder, Combined)
    assert (size, encoder.hidden[0].weight.shape) == (16, (16, FEATURES["small"] + 5))
    assert encoder(TREE.zeros(4, 2)).shape == (4, 2, 16)
    alone, size = make_encoder(TREE, NetworkSettings(encoder="mlp", hidden=(16,)), generator())
    assert alone[0].weight.shape == (16, 8 * 8 * 3 + 5)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_copy_follows_the_weights_that_it_is_given(layer_norm: bool) -> None:
    """As a target network's does."""
    network = ActorCritic(TREE, NetworkSettings(hidden=(16,), layer_norm=layer_norm), 0).actor
    past = as_buffers(network)
    seen = {**TREE.zeros(2), "camera": pixels(2, 8 * 8 * 3)}
    torch.testing.assert_close(past(seen), network(seen))
    other = copy.deepcopy(network)
    with torch.no_grad():
        for each in other.parameters():
            each.add_(0.1)
    past.load_state_dict(other.state_dict())
    torch.testing.assert_close(past(seen), other(seen))


def test_where_a_small_picture_is_black_nothing_is_seen() -> None:
    """Else a channel would be 1 nearly everywhere: each update moves all features by it, until units die."""
    assert not Categories()(torch.zeros(1, 2, 5, 5)).any()


@pytest.mark.parametrize("kind", ["nature", "dqn", "impala", "small"])
@pytest.mark.parametrize("shape", [(4, 40, 44), (40, 44, 3)])
def test_many_pictures_have_the_features_that_each_has_alone(shape: tuple[int, ...], kind: str) -> None:
    encoder = PictureEncoder(Part(shape, "uint8"), kind, torch.Generator().manual_seed(0))
    rows = pixels(2, AT_ONCE, math.prod(shape))
    learned = encoder(rows)
    with torch.no_grad():
        together, alone = encoder(rows), encoder(rows[1, -1])
    assert together.shape == (2, AT_ONCE, encoder.size)
    assert torch.allclose(learned, together, rtol=1e-4, atol=1e-4)
    assert torch.allclose(together[1, -1], alone, rtol=1e-4, atol=1e-4)


def test_bytes_count_as_numbers_from_0_to_1() -> None:
    encoder = PictureEncoder(Part((4, 40, 40), "uint8"), "dqn", torch.Generator().manual_seed(0))
    row = torch.full((1, 4 * 40 * 40), 255, dtype=torch.uint8)
    first = cast(Conv, encoder.layers[0])
    expected = first.weight.sum((1, 2, 3)) + first.bias
    pictures = row.reshape(1, 4, 40, 40).float()
    assert torch.allclose(first(pictures)[0, :, 0, 0], expected, atol=1e-5)


def test_low_bytes_of_small_pictures_are_categories_too() -> None:
    pictures = torch.tensor([0, 5, 15, 16, 255, 6], dtype=torch.uint8).reshape(1, 2, 1, 3)
    seen = Categories()(pictures.float())
    assert seen.shape == (1, 2 + 2 * CATEGORIES, 1, 3)
    assert torch.equal(seen[0, :2], pictures[0] / 255)
    where = [
        (1 + value, channel, column)
        for value, channel, _, column in seen[0, 2:].reshape(CATEGORIES, 2, 1, 3).nonzero().tolist()
    ]
    assert sorted(where) == [(5, 0, 1), (6, 1, 2), (15, 0, 2)]
    encoder = PictureEncoder(Part((7, 7, 3), "uint8"), "auto", generator())
    key, ball = (torch.full((147,), value, dtype=torch.uint8) for value in (5, 6))
    assert (encoder(key) - encoder(ball)).abs().max() > 0.1  # as numbers from 0 to 1 they are .004 apart


@pytest.mark.parametrize("kind", ["nature", "dqn", "impala", "small"])
def test_bfloat16_is_for_gradients_alone(kind: str) -> None:
    """What is learned from is all but the same; what acts, is evaluated and exported is the same to the bit."""
    rows = pixels(64, 4 * 40 * 40)
    exact, rough = (
        PictureEncoder(Part((4, 40, 40), "uint8"), kind, generator(), precision=precision)
        for precision in ("float32", "bfloat16")
    )
    with torch.no_grad():
        assert torch.equal(exact(rows), rough(rows))
    found = exact(rows), rough(rows)
    assert found[1].dtype == torch.float32
    assert not torch.equal(*found)
    assert (found[1] - found[0]).norm() < 0.02 * found[0].norm()
    wanted = torch.randn(found[0].shape, generator=generator())
    for each in found:
        (each * wanted).mean().backward()
    gradients = [torch.cat([each.grad.flatten() for each in encoder.parameters()]) for encoder in (exact, rough)]
    assert gradients[1].dtype == torch.float32
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_this_machine_says_what_it_is_fast_with() -> None:
    auto = PictureEncoder(Part((4, 40, 40), "uint8"), "dqn", generator(), precision="auto")
    fast = "bfloat16" if computes_bfloat16() else "float32"
    same = PictureEncoder(Part((4, 40, 40), "uint8"), "dqn", generator(), precision=fast)
    rows = pixels(8, 4 * 40 * 40)
    assert torch.equal(auto(rows), same(rows))
