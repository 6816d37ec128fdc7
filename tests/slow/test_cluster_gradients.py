"""Every form of sharing gradients, as real processes over TLS: a worker dies, a child dies, the parent is resumed."""

import os
import signal
from pathlib import Path

import pytest

from marl.exchanges.gradients.settings import FORMS
from tests.commands import ENDLESS, named, run_folder
from tests.slow.cluster import child, free_ports, parent, version, wait_for_rounds
from tests.slow.test_cluster_faults import kill

pytestmark = pytest.mark.usefixtures("marl_home")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_what_dies_comes_back_and_the_run_goes_on(form: str, tmp_path: Path) -> None:
    ports = free_ports(2)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    words = ("CartPole-v1", "--exchange", "gradients", "--set", f"exchange.form={form}", *ENDLESS, "--wait", "60")
    with child(tmp_path, port=ports[0], workers=2) as first:
        with parent(tmp_path, addresses, *words) as run:
            with child(tmp_path, port=ports[1]) as second:
                run.wait("children 2/2")
                wait_for_rounds(run, tmp_path)
                os.kill(named(first.process, "marl worker")[0], signal.SIGKILL)
                first.wait("worker . died .* and is started again")
                wait_for_rounds(run, tmp_path)
                heard = len(run.lines)
                kill(second.process)
                run.wait("children 1/2", after=heard)
                wait_for_rounds(run, tmp_path)
            heard = len(run.lines)
            with child(tmp_path, port=ports[1]) as second:
                run.wait("children 2/2", after=heard)
                wait_for_rounds(run, tmp_path)
                run.end_hard()
                with parent(tmp_path, addresses, "--resume", str(run_folder(tmp_path)), "--wait", "60") as resumed:
                    resumed.wait("children 2/2")
                    wait_for_rounds(resumed, tmp_path)
                    before = version(tmp_path)
                    assert resumed.end(signal.SIGINT) == 128 + signal.SIGINT
                    assert version(tmp_path) >= before > 0
                assert second.end(signal.SIGTERM) == 0
        assert first.end(signal.SIGTERM) == 0
    assert first.errors == second.errors == run.errors == resumed.errors == []
