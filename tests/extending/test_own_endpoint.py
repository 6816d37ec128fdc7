"""Endpoints from outside the package: a child is trained on that no part of marl could have dialled."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from examples.own_link import Dials, Waits
from marl.api import Cluster, serve, train
from marl.errors import ConfigError, LinkClosed, LinkError, MarlError, TrustError
from marl.wire.endpoint import Endpoint
from marl.wire.link import Link
from tests.commands import PATIENCE_S, started

CATCH = "examples.own_environment:Catch-v0"
SETTINGS = {
    "stop.steps": 3000, "exchange.every": "500 steps", "report.pictures": False, "report.tensorboard": False,
    "report.every_seconds": 0.1, "evaluation.final_episodes": 1,
}  # fmt: skip
CHILD = """
from examples.own_link import Dials
from marl.api import serve
serve(Dials({port}), name="child-{port}", workers=1, allow=("examples",))
"""


@contextmanager
def dialling_child(port: int, folder: Path) -> Iterator[Any]:
    """A process that serves the parents behind this port."""
    with started("-c", CHILD.format(port=port), cwd=folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"child child-{port} meets parents at 127.0.0.1:{port} with 1 worker\n"
        yield process


def test_a_run_trains_on_children_that_dial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent listens, once for each."""
    monkeypatch.chdir(tmp_path)
    first, second = Waits(), Waits()
    with dialling_child(first.port, tmp_path), dialling_child(second.port, tmp_path):
        cluster = Cluster(endpoints=(first, second), wait_s=PATIENCE_S)
        result = train(CATCH, settings=SETTINGS, cluster=cluster, out=tmp_path / "weights.pt", live=False)
        for endpoint in (first, second):
            with pytest.raises(LinkClosed):
                endpoint.meet()
        assert (result.reason, result.failure) == ("steps", None)
        assert (tmp_path / "weights.pt").is_file()
        happened = [json.loads(line) for line in (result.run / "events.jsonl").read_text().splitlines()]
        joined = {each["address"]: each["workers"] for each in happened if each["event"] == "child_joined"}
        assert joined == {first.address: 1, second.address: 1}


class Nobody:
    """Meets nobody, and says why."""

    address = "nowhere"

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.asked, self.closed = 0, False

    def meet(self) -> Link:
        self.asked += 1
        if self.closed:
            raise LinkClosed("closed")
        raise self._error

    def check(self) -> None:
        """There is nobody."""

    def close(self) -> None:
        self.closed = True


def test_why_nobody_came_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    endpoint = Nobody(TrustError("nowhere: expected a broker with a certificate, got one without"))
    with pytest.raises(MarlError, match=r"no child can take part .*: nowhere: expected a broker with a certificate"):
        train(CATCH, settings=SETTINGS, cluster=Cluster(endpoints=(endpoint,)), live=False)
    assert (endpoint.asked, endpoint.closed) == (1, True)
    assert not list(tmp_path.glob("runs/*"))


def test_a_child_has_a_name_that_can_be_sent() -> None:
    with pytest.raises(ConfigError, match="expected a name of 1 to 63 small letters"):
        serve(Nobody(LinkClosed("")), name="my child")


@pytest.mark.parametrize(
    ("error", "said"),
    [(TrustError("the broker is not ours"), "the broker is not ours"), (KeyError("x"), "nowhere: KeyError: 'x'")],
)
def test_a_child_that_can_meet_nobody_ends_and_says_why(
    error: Exception, said: str, marl_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Nobody(error)
    with pytest.raises(MarlError) as caught:
        serve(endpoint, name="child", workers=1, live=False)
    assert str(caught.value) == said
    assert endpoint.closed


def test_the_examples_are_what_the_promises_say() -> None:
    """For mypy; and a second ``close`` does no harm."""
    endpoint: Endpoint
    for endpoint in (Waits(), Dials(1)):
        endpoint.close()
        endpoint.close()
        with pytest.raises(LinkError, match="no more"):
            endpoint.meet()
