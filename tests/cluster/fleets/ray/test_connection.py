"""Clusters that are not there, and a package that is not installed: one line each, and nothing is started."""

import sys

import pytest

from marl.cluster.fleets.ray.connection import _head, connect, load_ray
from marl.errors import ConfigError, LinkClosed, MarlError, MissingExtra
from marl.processes.ports import free_port


def test_without_ray_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"--ray needs ray: run pip install 'marl-cluster\[ray\]'"):
        load_ray()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "localhost:{}"])
def test_nobody_answers_there(form: str) -> None:
    pytest.importorskip("ray")
    address = form.format(free_port("127.0.0.1"))
    with pytest.raises(LinkClosed, match=f"--ray: no Ray cluster at {address} .*refused"):
        connect(address, print)


@pytest.mark.parametrize("address", ["nonsense", "10.0.0.7", "10.0.0.7:port", ":6379", "local"])
def test_what_is_no_address(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=f"--ray: expected .*, got '{address}'"):
        connect(address, print)


def test_an_impossible_port() -> None:
    pytest.importorskip("ray")
    with pytest.raises(MarlError, match=r"no Ray cluster at 127\.0\.0\.1:99999"):
        connect("127.0.0.1:99999", print)


def test_a_cluster_is_asked_where_this_program_reaches_it() -> None:
    """The address that Ray tells behind ray:// is of the network inside."""
    assert _head(None, "ray://cluster.example:10001") == "cluster.example:10001"
