"""Who goes against whom, by cosines."""

import pytest
import torch

from marl.averaging.directions import AFTER, SAMPLE, TRAJECTORIES, Directions

SIZE = 2 * SAMPLE + 1


def a_round(directions: Directions, deltas: dict[str, torch.Tensor]) -> None:
    for child, delta in deltas.items():
        directions.add(child, directions.sample(delta))
    directions.compare_all()


def deltas(seed: int, signs: dict[str, float], noise: float = 1.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(SIZE, generator=generator)
    return {name: sign * common + noise * torch.randn(SIZE, generator=generator) for name, sign in signs.items()}


def after(signs: dict[str, float], rounds: int = 10, noise: float = 1.0) -> tuple[str, ...]:
    directions = Directions(SIZE)
    for seed in range(rounds):
        a_round(directions, deltas(seed, signs, noise))
    return directions.opposed(signs)


def test_honest_children_agree_or_are_noise() -> None:
    assert after({"a": 1.0, "b": 0.5}) == ()
    assert after({"a": 1.0, "b": 1.0, "c": 0.1, "d": 1.0}) == ()
    assert after({"a": 0.0, "b": 0.0}) == ()
    assert after({"a": 0.0, "b": 0.0, "c": 0.0}, noise=3.0) == ()


def test_of_two_nobody_can_say_which() -> None:
    assert set(after({"a": 1.0, "b": -1.0})) == {"a", "b"}
    assert after({"a": 1.0, "b": -1.0}, rounds=AFTER - 1) == ()


def test_one_against_several_is_known() -> None:
    assert after({"a": 1.0, "b": 1.0, "liar": -1.0}) == ("liar",)
    assert after({"a": 1.0, "b": 0.3, "liar": -1.0, "c": 1.0}) == ("liar",)


def test_what_was_seen_can_be_forgotten() -> None:
    directions = Directions(SIZE)
    for seed in range(AFTER):
        a_round(directions, deltas(seed, {"a": 1.0, "b": -1.0}))
    directions.forget()
    a_round(directions, deltas(9, {"a": 1.0, "b": -1.0}))
    assert directions.opposed(["a", "b"]) == ()


def test_a_long_delta_does_not_outvote_all_others() -> None:
    signs = {"a": 1.0, "b": 1.0, "c": 1.0, "liar": -1.0}
    directions = Directions(SIZE)
    for seed in range(10):
        a_round(directions, deltas(seed, signs) | {"liar": 20.0 * deltas(seed, signs)["liar"]})
    assert directions.opposed(signs) == ("liar",)


def test_those_that_have_left_say_nothing() -> None:
    directions = Directions(SIZE)
    for seed in range(6):
        a_round(directions, deltas(seed, {"a": 1.0, "b": 1.0, "gone": 1.0}))
    for seed in range(20):
        a_round(directions, deltas(seed, {"a": 1.0, "b": -1.0}))
    assert set(directions.opposed(["a", "b"])) == {"a", "b"}


@pytest.mark.parametrize("delta", [torch.zeros(SIZE), torch.full((SIZE,), torch.nan), torch.full((SIZE,), torch.inf)])
def test_what_has_no_direction_is_not_compared(delta: torch.Tensor) -> None:
    directions = Directions(SIZE)
    for seed in range(10):
        a_round(directions, {"odd": delta} | deltas(seed, {"a": 1.0, "b": -1.0}))
    assert set(directions.opposed(["a", "b", "odd"])) == {"a", "b"}


def test_directions_that_cancel_are_none() -> None:
    """What rounding leaves of their sum has a direction, too, which is nobody's."""
    directions, one = Directions(SIZE), torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    for _ in range(10):
        a_round(directions, {"a": one, "b": -one, "c": torch.ones(SIZE)})
    assert "c" not in directions._agreement


def test_comparing_all_sums_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sums: list[int] = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda tensors: (sums.append(len(tensors)), stack(tensors))[1])
    directions = Directions(SIZE)
    a_round(directions, deltas(0, {str(number): 1.0 for number in range(30)}))
    assert sums == [30]


def test_all_updates_from_one_trajectory_are_one_word() -> None:
    """In each of some trajectories of 16 rounds, every honest child goes where its own luck leads."""
    trajectories, rounds = 60, 16
    parts, wholes, generator = Directions(6, 256.0), Directions(6), torch.Generator().manual_seed(0)
    named: set[str] = set()
    for _ in range(trajectories):
        luck = {name: torch.randn(6, generator=generator) for name in "abcd"}
        for _ in range(rounds):
            for name, each in luck.items():
                parts.add(name, each, steps=16.0)
                wholes.add(name, each, steps=16.0)
            parts.compare_all()
            wholes.compare_all()
            assert parts.opposed("abcd") == ()
            named |= set(wholes.opposed("abcd"))
    assert named  # who would be, if each round counted


def test_who_goes_against_the_others_in_parts_of_trajectories_is_known_too() -> None:
    directions, signs = Directions(SIZE, 256.0), {"a": 1.0, "b": 1.0, "liar": -1.0}
    for seed in range(16 * TRAJECTORIES * AFTER):
        for child, delta in deltas(seed, signs).items():
            directions.add(child, directions.sample(delta), steps=16.0)
        directions.compare_all()
    assert directions.opposed(signs) == ("liar",)
