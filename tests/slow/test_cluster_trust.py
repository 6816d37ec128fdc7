"""Who may speak while a run goes on: a child is revoked, the key is replaced, a company has certificates of its own."""

import base64
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from marl.trust.keys import derive, load_keys
from tests.commands import ENDLESS, FACTOR, MARL, python, session, succeed
from tests.slow.cluster import OFTEN, at_home, child, free_port, parent, wait_for_rounds
from tests.trust.company import Company

RUN = ("CartPole-v1", *ENDLESS, *OFTEN)


@pytest.mark.slow
def test_a_revoked_child_is_out_at_once_and_the_other_trains_on(tmp_path: Path) -> None:
    with at_home(tmp_path / "boss") as boss:
        succeed(*MARL, "keys", "init", cwd=tmp_path)
        for name in ("attic", "cellar"):
            made = python(*MARL, "invite", name, "--out", str(tmp_path / f"{name}.ticket"), cwd=tmp_path)
            assert made.returncode == 0, made
    with (
        at_home(tmp_path / "attic"),
        child(tmp_path, "--ticket", str(tmp_path / "attic.ticket")) as attic,
        at_home(tmp_path / "cellar"),
        child(tmp_path, "--ticket", str(tmp_path / "cellar.ticket")) as cellar,
        at_home(boss),
        parent(tmp_path, [attic, cellar], *RUN) as run,
    ):
        assert (attic.name, cellar.name) == ("attic", "cellar")
        run.wait("children 2/2")
        wait_for_rounds(run, tmp_path)
        heard = len(run.lines)
        assert python(*MARL, "revoke", "cellar", cwd=tmp_path).returncode == 0
        run.wait("got cellar, which was revoked here", after=heard, seconds=FACTOR)  # a second
        run.wait("children 1/2", after=heard)
        wait_for_rounds(run, tmp_path)
        listed = succeed(*MARL, "nodes", cwd=tmp_path)
        assert [line.split()[-1] for line in listed.splitlines()[1:]] == ["in", "revoked"]


@pytest.mark.slow
def test_the_key_is_replaced_while_a_run_goes_on(tmp_path: Path) -> None:
    """Three steps, after each of which the file is copied to the child; no round is lost, who comes back is let in."""
    port = free_port()
    homes = tmp_path / "boss", tmp_path / "box"

    def copy() -> None:
        fresh = homes[1] / "fresh"
        shutil.copy2(homes[0] / "cluster.key", fresh)
        fresh.replace(homes[1] / "cluster.key")

    with at_home(homes[1]), at_home(homes[0]):
        succeed(*MARL, "keys", "init", cwd=tmp_path)
        copy()
    with (
        at_home(homes[1]),
        child(tmp_path, port=port) as first,
        at_home(homes[0]),
        parent(tmp_path, [first], *RUN) as run,
    ):
        run.wait("children 1/1")
        for step in ("--add", "--use", "--drop"):
            heard = len(run.lines), len(first.lines)
            succeed(*MARL, "keys", "rotate", step, cwd=tmp_path)
            copy()
            run.wait("the key has changed", after=heard[0])
            first.wait("the key has changed", after=heard[1])
            wait_for_rounds(run, tmp_path)
            assert not [line for line in run.lines[heard[0] :] if "no answer" in line or "closed" in line]
        before = len(run.lines)
        first.vanish()
        with at_home(homes[1]), child(tmp_path, port=port) as again:
            run.wait("the child is in again", after=before)
            wait_for_rounds(run, tmp_path)
            assert again.lines


@pytest.mark.slow
def test_certificates_of_ones_own(tmp_path: Path) -> None:
    company = Company(tmp_path)
    words = {}
    for name in ("parent.example", "child.example"):
        files = company.issue(name)
        words[name] = ("--cert", files["certificate"], "--key", files["key"], "--ca", files["authority"])
    with (
        at_home(tmp_path / "home"),
        child(tmp_path, *map(str, words["child.example"]), "--allow-name", "parent.example") as only,
        parent(tmp_path, [only], *RUN, *map(str, words["parent.example"]), "--server-name", "child.example") as run,
    ):
        assert only.name == "child.example"
        run.wait("children 1/1")
        wait_for_rounds(run, tmp_path)
    with at_home(tmp_path / "home"), child(tmp_path, *map(str, words["child.example"]), "--allow-name", "boss") as only:
        named = ("--server-name", "child.example", "--wait", "5")
        with parent(tmp_path, [only], *RUN, *map(str, words["parent.example"]), *named) as run:
            assert run.end() == 1
        only.wait("expected boss, got parent.example: add --allow-name")


def test_no_key_reaches_the_other_machines(tmp_path: Path, marl_home: Path) -> None:
    """In no form is it in a command line or an environment, and nothing that was written or said holds it (S11)."""
    succeed(*MARL, "keys", "init", cwd=tmp_path)
    key = load_keys(marl_home / "cluster.key").current
    secrets = [form for each in (key, derive(key, "ca-ed25519")) for form in forms(each.reveal())]

    def tells(data: bytes) -> bool:
        return any(secret in data for secret in secrets)

    assert tells((marl_home / "cluster.key").read_bytes())
    with child(tmp_path) as only, parent(tmp_path, [only], *RUN) as run:
        run.wait("children 1/1")
        wait_for_rounds(run, tmp_path)
        for pid in (*session(only.process.pid), *session(run.process.pid)):
            for name in ("cmdline", "environ"):
                with suppress(OSError):  # it has ended meanwhile
                    assert not tells(Path(f"/proc/{pid}/{name}").read_bytes())
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    assert not tells("\n".join(run.lines + run.errors + only.lines + only.errors).encode())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"weights.pt", "checkpoint.pt", "cluster.key"} <= {path.name for path in written}
    assert [path.name for path in written if tells(path.read_bytes())] == ["cluster.key"]


def forms(secret: bytes) -> list[bytes]:
    """How it could stand somewhere."""
    texts = [base64.b32encode(secret), base64.b64encode(secret), base64.urlsafe_b64encode(secret)]
    bare = [text.strip(b"=") for text in texts]
    return [secret, secret.hex().encode(), *bare, *(text.lower() for text in bare)]
