"""The command of a run that goes on in the cluster, as it is run there."""

import re

import pytest

from marl.cluster.fleets.ray.detached import run_name, there


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train CartPole-v1 --ray --detach", "train CartPole-v1 --ray=auto --plain"),
        ("train CartPole-v1 --detach --ray 10.0.0.7:6379", "train CartPole-v1 --ray=auto --plain"),
        ("train --ray=ray://10.0.0.7:10001 A-v1 --detach", "train --ray=auto A-v1 --plain"),
        ("parent --ray auto --nodes 2-16 --detach --seed 1", "parent --ray=auto --nodes 2-16 --seed 1 --plain"),
        ("train --ray --nodes 2 --ray-wait 5 --detach", "train --ray=auto --nodes 2 --ray-wait 5 --plain"),
    ],
)
def test_the_address_is_another_there(words: str, expected: str) -> None:
    assert there(words.split()) == expected.split()


@pytest.mark.parametrize(
    ("source", "beginning"),
    [
        ("LunarLander-v3", "LunarLander-v3"),
        (None, "CartPole-v1"),
        ("my.games:Snake", "my.games-Snake"),
        ("a/b.toml", "a-b.toml"),
    ],
)
def test_names_of_runs(source: str | None, beginning: str) -> None:
    assert re.fullmatch(rf"{re.escape(beginning)}-\d{{8}}-\d{{6}}", run_name(source))
