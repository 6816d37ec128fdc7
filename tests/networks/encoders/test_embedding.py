"""Many categories: a row of a table in place of a row of zeros with a 1."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from marl.data.spaces import Part, Spaces
from marl.networks.actor_critic import ActorCritic
from marl.networks.encoders.embedding import MANY, WIDTH, Embedding, needs_table
from marl.networks.encoders.make_encoder import MLP, Combined, make_encoder
from marl.networks.settings import NetworkSettings
from marl.networks.torso import Torso, as_buffers, body_size

PLACES = Part((), "int32", (65_536,), (0,))
TREE = {
    "camera": Part((8, 8, 3), "uint8"),
    "place": Part((2,), "int32", (5_000, 3), (0, 0)),
    "speed": Part((2,)),
    "tool": Part((), "int32", (MANY,), (0,)),
}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def spaces_of(parts: object) -> Spaces:
    return Spaces(parts, Part((), "int32", (3,), (0,)))


def encoder_of(parts: object, kind: str | None = None) -> nn.Module:
    made, _ = make_encoder(spaces_of(parts), NetworkSettings(encoder=kind, hidden=(16,)), generator())
    return made


def seen(*leading: int) -> dict[str, Tensor]:
    return {
        "camera": torch.randint(0, 256, (*leading, 192), dtype=torch.uint8),
        "place": torch.tensor([4_321, 2], dtype=torch.int32).expand(*leading, 2),
        "speed": torch.randn(*leading, 2),
        "tool": torch.tensor([MANY - 1], dtype=torch.int32).expand(*leading, 1),
    }


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_each_number_has_its_own_rows(leading: tuple[int, ...]) -> None:
    embedding = Embedding(TREE["place"], generator())
    assert (embedding.size, embedding.table.shape) == (2 * WIDTH, (5_003, WIDTH))
    categories = torch.tensor([4_321, 2], dtype=torch.int32).expand(*leading, 2)
    found = embedding(categories)
    assert found.shape == (*leading, 2 * WIDTH)
    assert torch.equal(found.reshape(-1, 2, WIDTH)[0], embedding.table[[4_321, 5_002]])


def test_no_category_is_seen_that_there_is_not() -> None:
    with pytest.raises(IndexError):
        Embedding(PLACES, generator())(torch.tensor([[65_536]]))


def test_the_number_of_categories_decides() -> None:
    assert needs_table(Part((), "int32", (MANY + 1,), (0,)))
    assert not needs_table(Part((), "int32", (MANY,), (0,)))
    assert not needs_table(Part((MANY + 1,), "int32", (2,) * (MANY + 1), (0,) * (MANY + 1)))
    assert not needs_table(Part((3,)))
    assert isinstance(encoder_of(Part((), "int32", (MANY,), (0,))), MLP)


@pytest.mark.parametrize("kind", [None, "mlp"])
def test_hidden_layers_see_few_numbers_of_many_categories(kind: str | None) -> None:
    encoder = encoder_of(PLACES, kind)
    assert isinstance(encoder, Combined)
    (layer,), (table,) = encoder.hidden, encoder.tables
    assert layer.weight.shape == (16, WIDTH)
    categories = torch.tensor([[0], [65_535]], dtype=torch.int32)
    expected = torch.tanh(functional.linear(table.table[[0, 65_535]], layer.weight))
    torch.testing.assert_close(encoder(categories), expected)
    numbers = table.table
    assert abs(numbers.mean().item()) < 0.01
    assert numbers.std().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("kind", "pictures"), [(None, 128), ("mlp", 192)])
def test_beside_pictures_and_numbers(kind: str | None, pictures: int) -> None:
    encoder = encoder_of(TREE, kind)
    assert isinstance(encoder, Combined)
    assert encoder.hidden[0].weight.shape == (16, pictures + 2 * WIDTH + 2 + MANY)
    assert encoder(seen(4, 2)).shape == (4, 2, 16)


def test_a_gradient_moves_the_rows_that_were_seen() -> None:
    network = ActorCritic(spaces_of(PLACES), NetworkSettings(hidden=(16,)), 0)
    network.values(torch.tensor([[7], [9], [7]], dtype=torch.int32)).sum().backward()
    assert network.critic is not None
    gradient = network.critic.hidden.tables[0].table.grad
    assert gradient is not None
    assert gradient.abs().sum(-1).nonzero().flatten().tolist() == [7, 9]


def test_its_size_is_known_without_building_it_and_a_copy_follows() -> None:
    """As a target network does."""
    settings = NetworkSettings(hidden=(16,))
    torso = Torso(spaces_of(TREE), settings, 3, head_gain=1.0, generator=generator())
    *tensors, _, _ = torso.parameters()
    size = body_size(spaces_of(TREE), settings)
    assert (size.numbers, size.tensors) == (sum(each.numel() for each in tensors), len(tensors))
    past, other, observations = as_buffers(torso), copy.deepcopy(torso), seen(3)
    with torch.no_grad():
        for each in other.parameters():
            each.add_(0.1)
    past.load_state_dict(other.state_dict())
    torch.testing.assert_close(past(observations), other(observations))
    assert not torch.equal(past(observations), torso(observations))
