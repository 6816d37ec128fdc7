"""A child in a network namespace, at an address that is not loopback, and a network that swallows bytes (R5)."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands import MARL, python, succeed
from tests.faults.counts import times
from tests.faults.runs import RUN
from tests.slow.cluster import at_home, child, parent, wait_for_rounds

DETECTED_S, HEALED_S = 6.0, 10.0
ENTER = "import os, sys; os.execvp('ip', ['ip', 'netns', 'exec', sys.argv[1], sys.executable, *sys.argv[2:]])"


class Network(NamedTuple):
    """A namespace behind a pair of virtual network cards."""

    name: str
    here: str  # our card
    there: str  # and its own
    ours: str  # our address
    address: str  # and its own

    def run(self, words: str) -> None:
        """Outside."""
        subprocess.run(["ip", *words.split()], check=True, capture_output=True)

    def run_inside(self, words: str) -> None:
        """Within the namespace."""
        self.run(f"-n {self.name} {words}")

    def cut(self, way: str) -> None:
        """No byte passes any more, and nobody is told."""
        self._switch(way, "down", "add")

    def mend(self, way: str) -> None:
        """As before."""
        self._switch(way, "up", "del")

    def _switch(self, way: str, card: str, hole: str) -> None:
        if way == "both ways":
            self.run(f"link set {self.here} {card}")
        elif way == "from the child":
            self.run_inside(f"route {hole} blackhole {self.ours}/32")
        else:
            self.run(f"route {hole} blackhole {self.address}/32")


@pytest.fixture
def network() -> Iterator[Network]:
    """One of those set aside for benchmarks (RFC 2544): no real network's number is hidden."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the command ip")
    name, number = f"marl-{secrets.token_hex(3)}", secrets.randbelow(256)
    made = Network(name, f"{name}-a", f"{name}-b", f"198.18.{number}.1", f"198.18.{number}.2")
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespaces")
    try:
        made.run(f"link add {made.here} type veth peer name {made.there} netns {name}")
        made.run(f"addr add {made.ours}/30 dev {made.here}")
        made.run(f"link set {made.here} up")
        made.run_inside(f"addr add {made.address}/30 dev {made.there}")
        made.run_inside(f"link set {made.there} up")
        made.run_inside("link set lo up")
        yield made
    finally:
        for words in (f"link del {made.here}", f"netns del {name}"):
            subprocess.run(["ip", *words.split()], capture_output=True, check=False)


@contextmanager
def tickets(folder: Path, *names: str) -> Iterator[Path]:
    """The home of a parent that has invited children of these names."""
    with at_home(folder / "boss") as boss:
        succeed(*MARL, "keys", "init", cwd=folder)
        for name in names:
            done = python(*MARL, "invite", name, "--out", str(folder / f"{name}.ticket"), cwd=folder)
            assert done.returncode == 0, done
        yield boss


def test_a_child_elsewhere_trains(network: Network, tmp_path: Path, history: Path) -> None:
    with tickets(tmp_path, "far") as boss:
        pass
    inside = ("-c", ENTER, network.name, *MARL, "child")
    with (
        at_home(tmp_path / "far"),
        child(tmp_path, "-ip", network.address, "--ticket", str(tmp_path / "far.ticket"), program=inside) as far,
        at_home(boss),
        parent(tmp_path, [far], *RUN) as run,
    ):
        assert far.address.startswith(network.address)
        run.wait("children 1/1")
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT


@pytest.mark.slow
@pytest.mark.parametrize("way", ["both ways", "from the child", "from the parent"])
@pytest.mark.timeout(1800)
def test_a_partition_is_noticed_and_heals_alone(way: str, network: Network, tmp_path: Path, history: Path) -> None:
    """The child is given up within seconds and trains on alone; the others' rounds go on; it comes back by itself."""
    with tickets(tmp_path, "near", "far") as boss:
        pass
    inside = ("-c", ENTER, network.name, *MARL, "child")
    with (
        at_home(tmp_path / "near"),
        child(tmp_path, "--ticket", str(tmp_path / "near.ticket")) as near,
        at_home(tmp_path / "far"),
        child(tmp_path, "-ip", network.address, "--ticket", str(tmp_path / "far.ticket"), program=inside) as far,
        at_home(boss),
        parent(tmp_path, [near, far], *RUN) as run,
    ):
        run.wait("children 2/2")
        for _ in range(times(17)):
            wait_for_rounds(run, tmp_path)
            heard = len(run.lines)
            start = time.monotonic()
            network.cut(way)
            try:
                run.wait(f"^{far.address}: ", after=heard)
                assert time.monotonic() - start <= DETECTED_S
                run.wait("children 1/2", after=heard)
                wait_for_rounds(run, tmp_path)
            finally:
                network.mend(way)
            heard, start = len(run.lines), time.monotonic()
            run.wait("children 2/2", after=heard)
            assert time.monotonic() - start <= HEALED_S
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT


def test_who_has_no_ticket_is_not_let_in_from_elsewhere(network: Network, tmp_path: Path) -> None:
    """What loopback allows ends there: a child elsewhere does not even start without something to prove itself by."""
    inside = ("-c", ENTER, network.name, *MARL, "child")
    with at_home(tmp_path / "far"), child(tmp_path, "-ip", network.address, program=inside) as far:
        assert far.end() != 0
    assert len(far.errors) == 1
    assert "ticket" in far.errors[0]
