"""What a user can do wrong with parents and children: one line with cause and remedy, and a non-zero exit code."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_bad_input import Command, refused
from tests.commands import BARE, FACTOR
from tests.slow.cluster import OFTEN, Child, child, free_port

PATIENCE_S = 10 * FACTOR  # for the answer to a mistake, torch to be loaded included
SOON = ("--wait", "0.5", *BARE)
EQUAL = "--deterministic --set exchange.every="

pytestmark = pytest.mark.usefixtures("marl_home")


@pytest.fixture(scope="module")
def only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A child with a home of its own, that allows a module which it does not have."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("child")
        patch.setenv("MARL_HOME", str(folder))
        with child(folder, "--allow", "at_home") as found:
            assert found.port
            yield found


@pytest.fixture
def home_of_the_child(only: Child, marl_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parent is the same user, with the same key."""
    home = Path(Path(f"/proc/{only.process.pid}/cwd").readlink())
    monkeypatch.setenv("MARL_HOME", str(home))
    return home


@pytest.mark.parametrize(
    ("words", "contents"),
    [
        ("parent", ["no children", "-ip", "--local 2"]),
        ("parent --steps 9", ["no children", "-ip", "--local 2"]),
        ("parent -ip", ["-ip"]),
        ("parent -ip 127.0.0.1 -p 0", ["--port", "0"]),
        ("parent -ip 127.0.0.1 -p 70000", ["--port", "70000"]),
        ("parent --local 0", ["--local", "0"]),
        ("parent --local 2 -ip 127.0.0.1", ["--local", "-ip"]),
        ("parent -ip 127.0.0.1 --workers 2", ["--workers", "--local"]),
        ("train --children 127.0.0.1 10.0.0.7 --local 2", ["--local", "-ip"]),
        ("parent CartPole-v1 -ip 127.0.0.1 LunarLander-v3", ["unexpected extra argument", "LunarLander-v3"]),
        ("train --nodes 2", ["--nodes", "write --ray"]),
        ("parent --local 2 --cores-per-node 2", ["--cores-per-node", "write --ray"]),
        ("train CartPole-v1 --detach", ["--detach", "write --ray"]),
        ("train --ray CartPole-v1", ["marl train CartPole-v1 --ray"]),
        ("train --local 2 --ray", ["--ray", "--local"]),
        ("parent -ip 127.0.0.1 --ray auto", ["--ray", "-ip"]),
        ("train --ray auto --ray-resource tape", ["--ray-resource", "NAME=AMOUNT", "tape"]),
        ("train --ray auto --ray-resource tape=much", ["--ray-resource", "NAME=AMOUNT", "tape=much"]),
        ("train --ray auto --ray-label zone", ["--ray-label", "NAME=VALUE", "zone"]),
        ("train --ray auto --ray-env {", ["--ray-env", "JSON"]),
        ("train --ray auto --ray-env [1]", ["--ray-env", "JSON object"]),
        ("train --ray auto --ray-spread WIDE", ["--ray-spread", "WIDE", "STRICT_SPREAD"]),
        ("child -p 70000", ["--port", "70000"]),
        ("child --workers 0", ["--workers", "0"]),
        ("child --orphan -1", ["--orphan", "-1"]),
    ],
)
def test_refused_options(words: str, contents: list[str], command: Command) -> None:
    refused(command(*words.split()), *contents, code=2)


@pytest.mark.parametrize(
    ("words", "contents"),
    [
        ("parent -ip 10.0.0.7:many", ["-ip", "10.0.0.7:many", "10.0.0.7:6000"]),
        ("parent -ip 10.0.0.7:70000", ["-ip", "1 to 65535", "70000"]),
        ("parent -ip wss://10.0.0.7", ["-ip", "wss://10.0.0.7", "10.0.0.7:6000"]),
        ("parent -ip [::1", ["-ip", "[::1", "[fe80::1]:6000"]),
        ("parent -ip 127.0.0.1 127.0.0.1:5050", ["-ip", "127.0.0.1:5050", "twice"]),
        ("parent -ip 10.0.0.7", ["key", "marl keys init", "marl invite"]),
        ("parent -ip 127.0.0.1 --ticket box.ticket", ["--ticket", "a child only", "marl keys init"]),
        ("parent -ip 10.0.0.7 --insecure", ["--insecure", "loopback"]),
        ("parent -ip 127.0.0.1 --key missing.key", ["missing.key", "marl keys init"]),
        ("parent -ip 127.0.0.1 --insecure --key a.key", ["--insecure", "--key"]),
        ("parent -ip 127.0.0.1 --set exchange.every=often", ["exchange.every", "5 seconds", "often"]),
        ("parent -ip 127.0.0.1 --set exchange.codec=zip", ["exchange.codec", "int8", "zip"]),
        ("parent -ip 127.0.0.1 --deterministic", ["exchange.every", "in steps", "0.5 seconds"]),
        (f"parent -ip 127.0.0.1 {EQUAL}1episode", ["exchange.every", "in steps", "1episode"]),
        (f"parent -ip 127.0.0.1 {EQUAL}9steps --set exchange.codec=auto", ["exchange.codec", "a fixed one", "auto"]),
        (f"parent -ip 127.0.0.1 {EQUAL}9steps --set exchange.name=pairwise", ["exchange.name", "weights", "pairwise"]),
        ("parent -ip 127.0.0.1 LunarLander-v9", ["LunarLander", "v9"]),
        ("parent CartPol-v1 -ip 127.0.0.1", ["no environment named 'CartPol-v1'", "did you mean CartPole-v1"]),
    ],
)
def test_refused_at_the_parent(words: str, contents: list[str], tmp_path: Path, command: Command) -> None:
    refused(command(*words.split(), *SOON), *contents)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "contents"),
    [
        ("-ip 0.0.0.0", ["0.0.0.0", "marl keys init", "marl invite", "--ticket"]),
        ("-ip 192.0.2.7 --insecure", ["--insecure", "192.0.2.7", "loopback"]),
        ("--ticket missing.ticket", ["missing.ticket"]),
        ("--key open.key", ["open.key", "chmod 600"]),
        ("--ticket a.ticket --key open.key", ["--ticket", "--key"]),
        ("-ip not_a_host.invalid --key good.key", ["not_a_host.invalid", "-ip"]),
        ("-ip 192.0.2.7 --key good.key", ["192.0.2.7", "this machine", "-ip"]),
    ],
)
def test_refused_at_the_child(words: str, contents: list[str], tmp_path: Path, command: Command) -> None:
    with_keys(tmp_path, command)
    answer = command("child", "-p", "0", *words.split())
    refused(answer, *contents)
    assert answer.out == ""


def test_a_port_that_is_in_use(command: Command) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        answer = command("child", "-p", str(port), "--wait", "0")
    refused(answer, f"127.0.0.1:{port}", "in use", "-p")


def test_nobody_listens(command: Command) -> None:
    port = free_port()
    start = time.monotonic()
    refused(command("parent", "-ip", f"127.0.0.1:{port}", *SOON), f"127.0.0.1:{port}", "refused", "marl child")
    assert time.monotonic() - start < PATIENCE_S


def test_somebody_else_listens(command: Command) -> None:
    """A server of another kind, which never says a word."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        start = time.monotonic()
        refused(command("parent", "-ip", f"127.0.0.1:{port}", *SOON), f"127.0.0.1:{port}", "--wait")
    assert time.monotonic() - start < 5 + PATIENCE_S


def test_another_key(only: Child, command: Command) -> None:
    """This test's home has a key of its own: each side says that the other is of another cluster."""
    heard = len(only.lines)
    answer = command("parent", "-ip", only.address, *SOON)
    refused(answer, only.address, "another", "copy this cluster's key file")
    line = only.wait("^127.0.0.1: .*another cluster", after=heard).string
    assert "copy this cluster's key file" in line


def test_only_one_side_is_insecure(only: Child, command: Command) -> None:
    refused(command("parent", "-ip", only.address, "--insecure", *SOON), only.address, "--insecure")


@pytest.mark.usefixtures("home_of_the_child")
def test_an_environment_that_the_child_does_not_allow(only: Child, command: Command) -> None:
    heard = len(only.lines)
    answer = command("parent", "tests.fakes:counting", "--steps", "9", "-ip", only.address, *SOON)
    refused(answer, only.address, "tests.fakes", "--allow tests.fakes")
    only.wait("--allow tests.fakes", after=heard)


@pytest.mark.usefixtures("home_of_the_child")
def test_an_environment_that_the_child_does_not_have(only: Child, command: Command, tmp_path: Path) -> None:
    (tmp_path / "at_home.py").write_text(AT_HOME)
    answer = command("parent", "at_home:AtHome-v0", "--steps", "9", "-ip", only.address, *SOON)
    refused(answer, only.address, "the child cannot take part: no module named 'at_home'", "install it")


@pytest.mark.usefixtures("home_of_the_child")
def test_one_child_under_two_names(only: Child, command: Command, tmp_path: Path) -> None:
    """It takes part once, and the run says so."""
    twice = (only.address, f"localhost:{only.port}")
    answer = command("parent", "CartPole-v1", "--steps", "2000", "--plain", *OFTEN, *BARE, "-ip", *twice)
    assert (answer.code, answer.err) == (0, "")
    assert f"are the same child, {only.name}: name it once" in answer.out


@pytest.mark.usefixtures("home_of_the_child")
def test_a_deterministic_run_ends_where_one_of_its_children_can_never_take_part(only: Child, command: Command) -> None:
    twice = (only.address, f"localhost:{only.port}")
    answer = command("parent", "CartPole-v1", *f"{EQUAL}9steps".split(), "--plain", *BARE, "-ip", *twice)
    refused(answer, "a deterministic run cannot go on", f"are the same child, {only.name}: name it once")


@pytest.mark.usefixtures("home_of_the_child")
def test_another_node_than_the_one_that_is_named(only: Child, command: Command) -> None:
    answer = command("parent", "-ip", f"box@{only.address}", *SOON)
    refused(answer, only.address, "expected the node box", only.name)


def with_keys(folder: Path, command: Command) -> None:
    """Two keys in ``folder``: good.key and open.key, which others can read."""
    for name in ("good.key", "open.key"):
        assert command("keys", "init", "--key", folder / name).code == 0
    os.chmod(folder / "open.key", 0o644)


AT_HOME = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

gymnasium.register("AtHome-v0", entry_point=CartPoleEnv, max_episode_steps=100)
"""
