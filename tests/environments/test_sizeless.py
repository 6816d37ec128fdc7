"""Spaces whose values have no fixed size: refused in one line, as a whole and as an entry, unless they are ignored."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from marl.environments.describe import describe, space_words
from marl.environments.serial import SerialVector
from marl.environments.vector import Environments
from marl.errors import SpaceFault

BOX, TWO = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)
KINDS = [
    spaces.OneOf([BOX, TWO]),
    spaces.Sequence(BOX),
    spaces.Sequence(TWO, stack=True),
    spaces.Text(5),
    spaces.Text(2, charset="a\n\x1b"),
    spaces.Graph(BOX, None),
    spaces.Graph(BOX, TWO),
]
ENTRY = r'which has no fixed size: leave it out \(environment.ignore=\["{}"\]\), or wrap the environment \(gymnasium'
WHOLE = r"which has no fixed size: wrap the environment \(gymnasium.{}Wrapper\)$"


@pytest.mark.parametrize("charset", ["ab", "a, )b", "a\n\x1b", spaces.text.alphanumeric])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda text: text, "got Text(1, 5), which has"),
        (lambda text: spaces.Sequence(text), "got Sequence(Text(1, 5), stack=False), which has"),
        (lambda text: spaces.OneOf([TWO, text]), "got OneOf(Discrete(2), Text(1, 5)), which has"),
        (lambda text: spaces.Dict(a=text), "of which environment.ignore leaves nothing"),
        (lambda text: spaces.Tuple([spaces.Dict(a=text)]), "got Text(1, 5) in 0/a, which"),
    ],
)
def test_a_refusal_does_not_list_the_letters_of_a_text(make: Any, words: str, charset: str) -> None:
    space = make(spaces.Text(5, charset=charset))
    with pytest.raises(SpaceFault) as caught:
        describe(space, TWO, ["a"] if isinstance(space, spaces.Dict) else [])
    assert words in str(caught.value)
    assert "charset" not in str(caught.value)


class Mission(spaces.Space[str]):
    """Texts in a space of its own."""

    def sample(self, *unused: Any, **unused_too: Any) -> str:
        return "get the key"


class Printed(Mission):
    """Prints a function with its address, as MiniGrid's does."""

    def __repr__(self) -> str:
        return f"Printed({print_nothing}, None)"


def print_nothing() -> None:
    """Is printed by where it lies in memory."""


class Broken(spaces.Space[str]):
    """Gives no sample."""

    def sample(self, *unused: Any, **unused_too: Any) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(("kind", "sizeless"), [(Mission(), True), (Broken(), False)])
def test_texts_of_another_kind_have_no_fixed_size_either(kind: spaces.Space, sizeless: bool) -> None:
    with pytest.raises(SpaceFault, match=r"in words.*: leave it out") as caught:
        describe(spaces.Dict(a=BOX, words=kind), TWO)
    assert ("in words, which has no fixed size: " in str(caught.value)) == sizeless


@pytest.mark.parametrize(("kind", "name"), [(Printed(), "Printed"), (Mission(), "Mission")])
def test_a_space_of_a_users_own_is_named_without_an_address(kind: spaces.Space, name: str) -> None:
    assert space_words(spaces.Tuple([TWO, kind])) == f"Tuple(Discrete(2), {name})"
    with pytest.raises(SpaceFault, match=f"got {name} in words, which"):
        describe(spaces.Dict(a=BOX, words=kind), TWO)


class Shown(gymnasium.Env[Any, Any]):
    """Shows and takes samples of any spaces; an episode has three steps."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(seed)
        self.left = 3
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return self.observation_space.sample(), 1.0, not self.left, False, {}


def environments(observation: spaces.Space[Any], action: spaces.Space[Any], *ignore: str) -> Environments:
    return Environments(SerialVector(lambda: Shown(observation, action), 3), "mine", ignore)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda kind: kind, WHOLE.format("Observation")),
        (lambda kind: spaces.Dict(a=BOX, words=kind), " in words, " + ENTRY.format("words")),
        (lambda kind: spaces.Dict(a=spaces.Dict(b=kind)), " in a/b, " + ENTRY.format("a/b")),
        (lambda kind: spaces.Tuple([BOX, kind]), " in 1, " + WHOLE.format("Observation")),
        (lambda kind: spaces.Dict(a=spaces.Tuple([BOX, kind])), " in a/1, " + ENTRY.format("a")),
        (lambda kind: spaces.Tuple([spaces.Dict(a=BOX, b=kind)]), " in 0/b, " + ENTRY.format("0/b")),
    ],
)
def test_observations_are_refused(kind: spaces.Space, make: Any, says: str) -> None:
    with pytest.raises(SpaceFault, match=f"expected observations of .*got {type(kind).__name__}.*{says}") as caught:
        environments(make(kind), TWO)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda kind: kind, ""),
        (lambda kind: spaces.Dict(a=BOX, words=kind), " in words"),
        (lambda kind: spaces.Tuple([TWO, kind]), " in 1"),
    ],
)
def test_actions_are_refused(kind: spaces.Space, make: Any, where: str) -> None:
    """Nothing of an action can be ignored, also where the same name is ignored of the observations."""
    says = f"expected actions of .*got {type(kind).__name__}.*{where}, {WHOLE.format('Action')}"
    with pytest.raises(SpaceFault, match=says) as caught:
        environments(spaces.Dict(a=BOX, words=kind), make(kind), "words")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "ignored"),
    [
        (lambda kind: spaces.Dict(a=BOX, words=kind), "words"),
        (lambda kind: spaces.Dict(a=BOX, b=spaces.Tuple([BOX, kind])), "b"),
        (lambda kind: spaces.Dict(a=BOX, b=spaces.Dict(c=TWO, d=kind)), "b/d"),
    ],
)
def test_what_is_ignored_may_have_any_size(kind: spaces.Space, make: Any, ignored: str) -> None:
    """Over the end of an episode, too."""
    found = environments(make(kind), TWO, ignored)
    found.reset([0, 1, 2])
    for _ in range(8):
        assert found.step(np.zeros(3, np.int64)).observations["a"].shape == (3, 2)
    found.close()


@pytest.mark.parametrize(
    ("space", "ignored", "says"),
    [
        (spaces.Tuple([BOX, TWO]), "1", "got 1 of a Tuple: wrap the environment$"),
        (
            spaces.Dict(a=BOX, b=spaces.Tuple([BOX, TWO])),
            "b/0",
            r'got b/0 of a Tuple: ignore the whole of it \(environment.ignore=\["b"\]\), or wrap',
        ),
        (spaces.Dict(a=spaces.Text(3)), "a", "environment.ignore leaves nothing: ignore less"),
    ],
)
def test_what_cannot_be_ignored(space: spaces.Space, ignored: str, says: str) -> None:
    with pytest.raises(SpaceFault, match=says):
        describe(space, TWO, [ignored])
