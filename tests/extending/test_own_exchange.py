"""An exchange from outside the package: found by its import path, asked by everything, trained with."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from examples.own_exchange import Earning, EarningChild, EarningParent
from marl.config.files import load_config
from marl.config.names import find_refused
from marl.config.settings import from_tree, to_tree
from marl.errors import MarlError
from marl.exchanges.base import Exchange
from marl.wire.message import Kind, Message
from tests.commands import BARE, MARL, ROOT, python, succeed
from tests.exchanges.nodes import SIZE, Clock, arrives
from tests.exchanges.nodes import Child as AnyChild

CATCH, OWN = "examples.own_environment:Catch-v0", "examples.own_exchange:Earning"


class Nothing:
    """No exchange."""


@dataclass(frozen=True)
class Halfless(Exchange):
    """Neither half."""


def test_a_run_on_children_trains_by_it(tmp_path: Path) -> None:
    words = ("--exchange", OWN, "--set", "exchange.least=0.5", "--set", "exchange.every='200 steps'")
    out = succeed(*MARL, "parent", CATCH, "--local", "2", *words, "--steps", "30000", *BARE, cwd=tmp_path)
    assert re.search("children [12]/2", out)  # the run may be over before the second has come
    (file,) = tmp_path.glob("runs/*/config.toml")
    exchange = tomllib.loads(file.read_text(encoding="utf-8"))["exchange"]
    assert (exchange["name"], exchange["least"], exchange["alpha"]) == (OWN, 0.5, 0.5)
    assert "mean" in succeed(*MARL, "evaluate", "weights.pt", "--episodes", "2", cwd=tmp_path)


def test_it_is_short_enough_to_copy() -> None:
    assert len((ROOT / "examples/own_exchange.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_its_fields_are_settings() -> None:
    config = load_config(CATCH, {"exchange.name": OWN, "exchange.least": 0.25, "exchange.alpha": 0.75})
    assert config.exchange == Earning(name=OWN, least=0.25, alpha=0.75)
    assert from_tree(to_tree(config)) == config
    assert isinstance(load_config(CATCH).exchange, Exchange)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"exchange.name": OWN, "exchange.least": 2}, "exchange.least: expected 0 to 1, got 2.0"),
        ({"exchange.name": OWN, "exchange.lest": 0.5}, "did you mean 'exchange.least'"),
        ({"exchange.name": OWN, "exchange.least": "x"}, "exchange.least: expected a number"),
        ({"exchange.name": "pairwise", "exchange.least": 0.5}, "no setting is called 'exchange.least'"),
        ({"exchange.name": OWN, "exchange.codec": "int8"}, "exchange.codec: expected one of float32"),
        ({"exchange.name": "earning"}, "or your own package.module:Class, got 'earning'"),
        ({"exchange.name": "examples.own_exchange:Earner"}, "has no 'Earner'"),
        ({"exchange.name": "examples.no_exchange:Earning"}, "no module named"),
        ({"exchange.name": f"{__name__}:Nothing"}, "derives from marl.exchanges.base.Exchange"),
        ({"exchange.name": f"{__name__}:Halfless"}, "lacks child and parent"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(settings: dict[str, object], words: str) -> None:
    with pytest.raises(MarlError) as caught:
        load_config(CATCH, settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_alone_it_has_nothing_to_mix(tmp_path: Path) -> None:
    done = python(*MARL, "train", "CartPole-v1", "--exchange", OWN, cwd=tmp_path)
    assert done.returncode != 0
    assert "mixes weights of children, and there are none" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_or_a_parent_may_name_it_only_where_its_module_is_allowed() -> None:
    tree = to_tree(load_config("CartPole-v1", {"exchange.name": OWN}))
    refused = find_refused(tree, ())
    assert refused is not None
    assert (refused.part, refused.module) == ("exchange", "examples.own_exchange")
    assert find_refused(tree, ("examples",)) is None


def test_who_earns_less_than_usual_moves_the_weights_less() -> None:
    parent = EarningParent(torch.zeros(SIZE), Earning(alpha=0.5, least=0.2), name="parent")
    steps = [parent.step_size(Message(Kind.UPLOAD, "child", info={"earned": each})) for each in (1.0, -1.0, 1.0)]
    assert steps == [0.5, 0.1, 0.5]
    assert parent.step_size(Message(Kind.UPLOAD, "child")) == 0.5  # no episode has ended


def test_both_halves_over_bytes() -> None:
    clock = Clock()
    parent = EarningParent(torch.zeros(SIZE), Earning(alpha=0.5, least=0.2), name="parent", clock=clock)
    child = AnyChild("child", clock, name="pairwise")
    child.side = EarningChild(child.block, Earning(), name="child", normalizes=False, clock=clock)
    child.side.joined()
    child.side.return_mean = lambda: -1.0  # type: ignore[method-assign]
    child.take(parent.join("child"))
    child.learn(1.0, steps=100)
    clock.now += 5
    upload = child.upload()
    assert upload.info["earned"] == -1.0
    parent.step_size(upload._replace(info={"earned": 100.0}))  # others earn more
    child.take(arrives(parent, upload))
    assert parent.current.weights.allclose(torch.tensor(0.1))
