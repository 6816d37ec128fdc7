"""From a key to a child that is let in, and out again; and no word of it shows the key."""

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from marl.trust.armour import wrap
from marl.trust.home import marl_home
from marl.trust.identity import identity_from_ticket
from marl.trust.invitations import DAYS, load_child_key
from marl.trust.keys import load_keys
from marl.trust.nodes import NodeBook
from marl.trust.secret import Secret
from marl.trust.tickets import parse_ticket, read_ticket
from tests.cli.trust.answers import Command, fine, refused
from tests.commands import MARL, ROOT

CANARY = b"canary-canary-canary-canary-cana"
LETTERS = base64.b32encode(CANARY).decode()
SONGS = ("canary", CANARY.hex()[:24], LETTERS[:24], LETTERS[16:40], base64.b64encode(CANARY).decode()[:24], "PRIVATE")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_and_kept(command: Command, home: Path) -> None:
    answer = command("keys", "init")
    ring = load_keys(home / "cluster.key")
    assert f"Made {home / 'cluster.key'}, the key of cluster {ring.cluster_id}." in fine(answer)
    assert (mode(home / "cluster.key"), mode(home)) == (0o600, 0o700)
    before = (home / "cluster.key").read_bytes()
    again = fine(command("keys", "init"))
    assert again.startswith("Kept ")
    assert "marl keys rotate --add" in again
    assert (home / "cluster.key").read_bytes() == before


def test_without_marl_home_the_key_lies_with_the_settings(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MARL_HOME")
    for variable in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "user"))
    fine(command("keys", "init"))
    assert mode(marl_home() / "cluster.key") == 0o600
    assert marl_home().is_relative_to(tmp_path)


def test_a_key_may_lie_elsewhere(command: Command, home: Path) -> None:
    fine(command("keys", "init", "--key", "other.key"))
    assert "file         other.key" in fine(command("keys", "show", "--key", "other.key"))
    fine(command("keys", "rotate", "--add", "--key", "other.key"))
    fine(command("invite", "box", "--key", "other.key"))
    assert not (home / "cluster.key").exists()


def test_show_is_the_same_on_two_machines(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine(command("keys", "init"))
    here = fine(command("keys", "show")).splitlines()
    (home / "copy").mkdir()
    (home / "cluster.key").rename(home / "copy" / "cluster.key")
    monkeypatch.setenv("MARL_HOME", str(home / "copy"))
    there = fine(command("keys", "show")).splitlines()
    assert here[1:] == there[1:]
    assert here[1].split()[0] == "cluster"
    assert len(here[2].split()[1]) == 64


def test_a_rotation_says_what_comes_next(command: Command, home: Path) -> None:
    fine(command("keys", "init"))
    first = load_keys(home / "cluster.key")
    refused(command("keys", "rotate", "--use"), "expected --add as the next step of rotation, got --use")
    for step, following in (("--add", "marl keys rotate --use"), ("--use", "marl keys rotate --drop")):
        assert following in fine(command("keys", "rotate", step))
    assert "only the new key is trusted" in fine(command("keys", "rotate", "--drop"))
    last = load_keys(home / "cluster.key")
    assert (last.cluster_id, len(last.trusted)) == (first.cluster_id, 1)
    assert last.current != first.current
    assert mode(home / "cluster.key") == 0o600


@pytest.mark.parametrize("steps", [[], ["--add", "--use"]])
def test_a_rotation_is_one_step_at_a_time(steps: list[str], command: Command) -> None:
    fine(command("keys", "init"))
    refused(command("keys", "rotate", *steps), "expected one of --add, --use and --drop", code=2)


def test_a_ticket_goes_to_standard_output_and_nothing_else(command: Command, home: Path, tmp_path: Path) -> None:
    fine(command("keys", "init"))
    answer = command("invite", "gpu-box-3", "--days", "30")
    assert answer.out.count("\n") == 1
    ticket = parse_ticket(Secret(answer.out.encode()))
    assert not isinstance(ticket, str)
    assert ticket.peer.node_id == "gpu-box-3"
    assert "good for 30 days" in answer.err
    assert "marl child -ip ITS_ADDRESS --ticket gpu-box-3.ticket" in answer.err
    assert answer.out.strip() not in answer.err
    (node,) = NodeBook(home / "nodes").nodes()
    assert (node.name, node.serial, node.invited) == ("gpu-box-3", ticket.peer.serial, True)


def test_a_ticket_in_a_file_is_for_its_owner_only(command: Command, tmp_path: Path) -> None:
    fine(command("keys", "init"))
    (tmp_path / "box.ticket").write_text("an old one")
    (tmp_path / "box.ticket").chmod(0o644)
    answer = command("invite", "box", "--out", "box.ticket")
    assert fine(answer) == ""
    assert mode(tmp_path / "box.ticket") == 0o600
    assert read_ticket(tmp_path / "box.ticket").peer.node_id == "box"
    assert (tmp_path / "box.ticket").read_text().strip() not in answer.err


def test_a_ticket_behind_the_shells_arrow_can_be_used_as_it_is(home: Path, tmp_path: Path, command: Command) -> None:
    fine(command("keys", "init"))
    path = tmp_path / "box.ticket"
    path.touch(0o644)
    with path.open("wb") as file:
        words = [sys.executable, *MARL, "invite", "box"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(words, stdout=file, stderr=subprocess.PIPE, check=True, timeout=60, env=environment)
    assert mode(path) == 0o600
    assert read_ticket(path).peer.node_id == "box"


def test_a_terminal_is_warned_of_the_secret(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fine(command("keys", "init"))
    assert "Warning" not in command("invite", "box").err
    monkeypatch.setattr("marl.cli.trust.invite.sys.stdout.isatty", lambda: True)
    assert "Warning: the line above is a secret" in command("invite", "box").err


def test_a_file_that_cannot_be_leaves_no_ticket(command: Command, home: Path, tmp_path: Path) -> None:
    fine(command("keys", "init"))
    (tmp_path / "folder").mkdir()
    refused(command("invite", "box", "--out", "no/such/box.ticket"), "a folder that exists", code=2)
    refused(command("invite", "box", "--out", "folder"), "is a directory", code=2)
    Path("link").symlink_to("elsewhere")
    refused(command("invite", "box", "--out", "link"), "'link': it is a symbolic link: name another file", code=2)
    refused(command("invite", "Box"), "expected a name of 1 to 63 small letters")
    refused(command("invite", "box", "--days", "0"), "--days", code=2)
    assert not (home / "nodes").exists()


def test_a_child_may_keep_its_key_to_itself(
    command: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine(command("keys", "init"))
    monkeypatch.setenv("MARL_HOME", str(tmp_path / "far"))
    answer = command("request")
    line = fine(answer).strip()
    assert "marl sign NAME LINE" in answer.err
    assert command("request").out == answer.out
    assert mode(tmp_path / "far" / "child.key") == 0o600
    monkeypatch.setenv("MARL_HOME", str(home))
    fine(command("sign", "box", line, "--out", "box.ticket"))
    ticket = read_ticket(tmp_path / "box.ticket", seed=load_child_key(tmp_path / "far" / "child.key"))
    assert identity_from_ticket(ticket)
    monkeypatch.setattr("sys.stdin", (tmp_path / "line").open("w+"))
    sys.stdin.write(f"{line}\n")
    sys.stdin.seek(0)
    assert fine(command("sign", "other", "-")).startswith("marl-ticket-1:")
    sys.stdin.close()
    assert [node.name for node in NodeBook(home / "nodes").nodes()] == ["box", "other"]


def test_a_pasted_secret_is_refused_and_not_repeated(command: Command) -> None:
    fine(command("keys", "init"))
    ticket = command("invite", "box").out.strip()
    answer = command("sign", "other", ticket)
    refused(answer, "expected a child's request, got a marl ticket")
    assert ticket[20:60] not in answer.err


@pytest.mark.parametrize(
    "words", [["keys", "show"], ["keys", "rotate", "--add"], ["invite", "box"], ["sign", "b", "x"]]
)
def test_no_key_says_what_makes_one(words: list[str], command: Command) -> None:
    refused(command(*words), "run marl keys init")


@pytest.mark.parametrize("words", [["keys", "init"], ["keys", "show"], ["keys", "rotate", "--add"], ["invite", "box"]])
def test_a_key_open_to_others_is_refused(words: list[str], command: Command, home: Path) -> None:
    fine(command("keys", "init"))
    (home / "cluster.key").chmod(0o644)
    refused(command(*words), f"run chmod 600 {home / 'cluster.key'}")


@pytest.mark.parametrize("words", [["keys", "init"], ["request"]])
def test_a_folder_that_cannot_be_written_is_said(
    words: list[str], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MARL_HOME", str(tmp_path / "file" / "home"))
    refused(command(*words), "set MARL_HOME")


def test_no_command_shows_the_key(
    command: Command, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    path = home / "cluster.key"
    path.write_bytes(wrap("key", Secret(CANARY)).reveal() + b"\n")
    path.chmod(0o600)
    (home / "child.key").write_bytes(wrap("child", Secret(CANARY)).reveal())
    (home / "child.key").chmod(0o600)
    heard = []
    for line in (
        "keys init",
        "keys show",
        "keys rotate --use",
        "keys rotate --add",
        "request",
        "invite box",
        "invite other --out other.ticket",
        "invite Box",
        "revoke box",
        "nodes",
        "nodes --json",
        "keys rotate --use",
        "keys rotate --drop",
        "sign box home/cluster.key",
    ):
        heard += [command(*line.split())]
    path.write_bytes(wrap("key", Secret(CANARY)).reveal()[:-1])
    heard += [command(*line.split()) for line in ("keys init", "keys show", "keys rotate --add", "invite box")]
    path.write_bytes(wrap("key", Secret(CANARY)).reveal())
    path.chmod(0o644)
    heard += [command(*line.split()) for line in ("keys init", "invite box")]
    assert {answer.code for answer in heard} == {0, 1}
    files = [each.read_text() for each in [*(home / "nodes").iterdir(), tmp_path / "other.ticket"]]
    said = "\n".join([caplog.text, *files, *(answer.out + answer.err for answer in heard)])
    assert [song for song in SONGS if song in said] == []


def test_tracebacks_show_no_key(home: Path) -> None:
    home.mkdir()
    (home / "cluster.key").write_bytes(wrap("key", Secret(CANARY)).reveal()[:-1])
    (home / "cluster.key").chmod(0o600)
    words = [sys.executable, *MARL, "keys", "show", "--debug"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert "Traceback" in done.stderr
    assert [song for song in SONGS if song in done.stdout + done.stderr] == []


def test_the_default_of_days_is_that_of_tickets() -> None:
    from marl.cli.trust.invite import invite

    (days,) = [each for each in invite.params if each.name == "days"]
    assert days.default == DAYS
