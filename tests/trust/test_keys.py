"""The key file: made once however many try, read only if nobody else could, replaced in three steps."""

import base64
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.errors import KeyFileError
from marl.trust.armour import wrap
from marl.trust.home import marl_home
from marl.trust.keys import KeyRing, create_keys, derive, key_path, load_keys, parse_keys
from marl.trust.rotation import FileWatch, rotate
from marl.trust.secret import Secret

# The same examples each time, however slow the machine.
BOUNDED = settings(derandomize=True, deadline=None, max_examples=200)

KEY = Secret(bytes(range(32)))
LINE = wrap("key", KEY).reveal()
CHECK = base64.b32encode(hashlib.sha256(b"marl-key-1:" + KEY.reveal()).digest()[:5])


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "cluster.key"
    ring, made = create_keys(path)
    assert made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert create_keys(path) == (ring, False)
    assert [each.name for each in path.parent.iterdir()] == ["cluster.key"]


def test_the_file_is_one_line_that_names_its_kind(tmp_path: Path) -> None:
    path = _write(tmp_path, LINE)
    assert LINE == b"marl-key-1:AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5DYPQ-" + CHECK
    assert load_keys(path).current == KEY


def test_eight_threads_at_once_agree(tmp_path: Path) -> None:
    barrier = threading.Barrier(8, timeout=20)
    results: list[tuple[KeyRing, bool]] = []

    def make() -> None:
        barrier.wait()
        results.append(create_keys(tmp_path / "home" / "cluster.key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 8
    assert sum(made for _, made in results) == 1
    assert all(ring == results[0][0] for ring, _ in results)
    assert [each.name for each in (tmp_path / "home").iterdir()] == ["cluster.key"]


def test_eight_processes_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from marl.trust.keys import create_keys\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()\n"
        f"ring, made = create_keys(Path({str(tmp_path / 'cluster.key')!r}))\n"
        "print(ring.cluster_id, made)"
    )
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = [process.communicate("go\n", timeout=30)[0].split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
    assert [made for _, made in outputs].count("True") == 1
    assert {cluster_id for cluster_id, _ in outputs} == {load_keys(tmp_path / "cluster.key").cluster_id}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "nothing"),
        (b"\n\n", "nothing"),
        (b"-----BEGIN PRIVATE KEY-----\n", "some other text"),
        (LINE[:-1], "wrong checksum"),
        (LINE[:40], "cut short or mistyped"),
        (LINE.replace(b"DENB", b"DENC"), "wrong checksum"),
        (LINE.lower(), "cut short or mistyped"),
        (LINE.replace(b"key-1", b"key-2"), "a key of format 2, while this marl reads format 1"),
        (LINE.replace(b"key-1", b"ticket-1"), "a marl ticket instead of a marl key"),
        (wrap("key", Secret(bytes(31))).reveal(), "31 bytes instead of 32"),
        (wrap("key", Secret(bytes(33))).reveal(), "more than 32 bytes"),
        (LINE + b"\n" + LINE, "a line too many"),
        (b"next " + LINE, "no current key"),
        (LINE + b"\nnext " + LINE + b"\nold " + LINE, "a line too many"),
        (LINE + b"\nspare " + LINE, "some other text"),
        (LINE + b"\ncluster " + wrap("cluster", Secret(b"../../etc/passwd")).reveal(), "a cluster id that is none"),
        (b"x" * 5000, "expected at most 4096 bytes"),
    ],
)
def test_a_damaged_key_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = _write(tmp_path, content)
    with pytest.raises(KeyFileError, match="expected") as caught:
        load_keys(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o610])
def test_a_key_that_others_can_open_is_refused_like_ssh_does(mode: int, tmp_path: Path) -> None:
    path = _write(tmp_path, LINE)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        load_keys(path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(_write(tmp_path, LINE))
    with pytest.raises(KeyFileError, match="symbolic link"):
        load_keys(tmp_path / "link")


def test_a_dangling_link_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="symbolic link"):
        create_keys(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, LINE)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(KeyFileError, match="got owner"):
        load_keys(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(KeyFileError, match="regular file"):
            load_keys(path)


def test_no_key_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nothing there: run marl keys init .* marl invite NAME"):
        load_keys(tmp_path / "cluster.key")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="set MARL_HOME"):
        create_keys(tmp_path / "file" / "cluster.key")


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        ("/keys", "/conf", "/keys"),
        ("", "/conf", "/conf/marl"),
        ("", "", "/me/.config/marl"),
        ("", "x", "/me/.config/marl"),
    ],
)
def test_home(given: str, settings: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name, value in (("MARL_HOME", given), ("XDG_CONFIG_HOME", settings), ("HOME", "/me")):
        monkeypatch.setenv(name, value)
    assert marl_home() == Path(expected)
    assert key_path() == Path(expected) / "cluster.key"


def test_derived_bytes_are_hkdf() -> None:
    for label in ("ca-ed25519", "cluster-id", "discovery"):
        expected = HKDF(SHA256(), length=32, salt=b"marl-cluster-v1", info=label.encode()).derive(KEY.reveal())
        assert derive(KEY, label) == Secret(expected)


def test_three_steps_replace_a_key_and_keep_the_clusters_name(tmp_path: Path) -> None:
    path = _write(tmp_path, LINE)
    first = load_keys(path)
    added = rotate(path, "add")
    assert (added.current, added.trusted) == (KEY, (KEY, added.newest))
    used = rotate(path, "use")
    assert (used.current, used.trusted) == (added.next, (added.next, KEY))
    dropped = rotate(path, "drop")
    assert dropped.trusted == (added.next,)
    assert {ring.cluster_id for ring in (first, added, used, dropped)} == {first.cluster_id}
    assert load_keys(path) == dropped
    assert rotate(path, "add").newest not in (KEY, dropped.current)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("done", "wrong", "right"),
    [
        ([], "use", "add"),
        ([], "drop", "add"),
        (["add"], "add", "use"),
        (["add"], "drop", "use"),
        (["add", "use"], "add", "drop"),
        (["add", "use"], "use", "drop"),
    ],
)
def test_a_step_out_of_order_changes_nothing(done: list, wrong: str, right: str, tmp_path: Path) -> None:
    path = _write(tmp_path, LINE)
    for step in done:
        rotate(path, step)
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match=f"expected --{right} .* got --{wrong}"):
        rotate(path, wrong)
    assert path.read_bytes() == before


def test_a_running_node_notices_a_rotation(tmp_path: Path) -> None:
    path = _write(tmp_path, LINE)
    watch = FileWatch(path)
    assert not watch.changed()
    rotate(path, "add")
    assert watch.changed()
    assert not watch.changed()
    path.unlink()
    assert not watch.changed()
    _write(tmp_path, b"")
    assert watch.changed()
    assert not watch.changed()


@BOUNDED
@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([LINE, b"next ", b"old ", b"cluster ", b"\n", b"A"])).map(b"".join)
)
def test_any_text_is_keys_or_a_problem(text: bytes) -> None:
    parsed = parse_keys(Secret(text))
    assert isinstance(parsed, KeyRing) or (isinstance(parsed, str) and parsed)


@BOUNDED
@given(st.integers(0, len(LINE) - 1), st.integers(1, 255))
def test_no_changed_letter_is_taken(place: int, change: int) -> None:
    changed = bytearray(LINE)
    changed[place] ^= change
    parsed = parse_keys(Secret(bytes(changed)))
    assert isinstance(parsed, str)


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "cluster.key"
    path.write_bytes(content)
    path.chmod(0o600)
    return path
