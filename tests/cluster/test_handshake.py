"""What parent and child agree on; every difference is named at both ends before a single weight is sent."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from marl.cluster.find_spaces import find_spaces
from marl.cluster.handshake import Offer, accept, examine, make_hello, offer, read_hello, refuse
from marl.config.files import load_config
from marl.errors import HandshakeRefused
from marl.links.memory import MemoryLink, memory_pair
from marl.links.probe import MOST_BYTES, MOST_PROBES, probe, probe_buffers
from marl.wire.hello import Hello, Welcome
from marl.wire.message import Kind, Message

MOST = 1_000_000  # bytes of a payload


def hello_of(source: str = "CartPole-v1", **settings: Any) -> Hello:
    config = load_config(source, {"seed": 1, **{name.replace("__", "."): each for name, each in settings.items()}})
    spaces = find_spaces(config)
    network = config.algorithm.build_network(spaces, config.network, 0)
    return make_hello(config, spaces, network, run_id="run", term=1, instance="abc")


class ChildThread:
    """A child's half in a thread; ``outcome`` is what it built, or the refusal that it gave."""

    def __init__(self, link: MemoryLink, allow: tuple[str, ...] = ()) -> None:
        self.outcome: Offer | HandshakeRefused | None = None
        self._link, self._allow = link, allow
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            hello = read_hello(self._link, name="child", workers=2)
            if hello is None:
                return
            offered = examine(hello, allow=self._allow, workers=2)
            accept(self._link, offered, name="child")
            self.outcome = offered
        except HandshakeRefused as error:
            refuse(self._link, error, name="child")
            self.outcome = error

    def join(self) -> Offer | HandshakeRefused | None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.outcome


def shake(hello: Hello, allow: tuple[str, ...] = ()) -> tuple[Welcome, Offer]:
    ours, theirs = memory_pair()
    child = ChildThread(theirs, allow)
    welcome = offer(ours, hello, MOST, name="parent")
    outcome = child.join()
    assert isinstance(outcome, Offer)
    return welcome, outcome


def test_children_hear_when_schedules_end() -> None:
    """Of the clip and the entropy cost as of the learning rate: they know nothing else of when the run stops."""
    for name in ("clip_schedule", "entropy_schedule"):
        hello = hello_of(algorithm__name="ppo", stop__steps=1000, **{f"algorithm__{name}": "linear"})
        assert hello.algorithm["schedule_steps"] == 1000
    both = hello_of(algorithm__schedule="auto", stop__steps=1000, stop__minutes=2.5).algorithm
    assert (both["schedule_steps"], both["schedule_minutes"]) == (1000, 2.5)
    own = hello_of(algorithm__schedule="auto", algorithm__schedule_steps=7, stop__steps=1000, stop__minutes=2.5)
    assert (own.algorithm["schedule_steps"], own.algorithm["schedule_minutes"]) == (7, 0.0)
    awr = hello_of(algorithm__name="examples.own_algorithm:AWR", stop__steps=1000).algorithm
    assert awr["schedule_steps"] == 1000  # code of a user's own may follow the progress


@pytest.mark.parametrize("algorithm", ["a3c", "ppo"])
def test_without_a_schedule_they_hear_nothing_of_the_end(algorithm: str) -> None:
    """A resumed run may have another, and its children go on as they are only if nothing else is new to them."""
    preset = {"algorithm__name": algorithm, "algorithm__schedule": "constant"}
    assert hello_of(**preset, stop__minutes=1.0) == hello_of(**preset, stop__minutes=2.0, stop__steps=1000)


def test_both_build_the_same_network() -> None:
    hello = hello_of("CartPole-v1", algorithm__t_max=7, exchange__every="100 steps")
    welcome, offered = shake(hello)
    assert welcome.num_bytes == hello.num_bytes == 36_620
    assert welcome.workers == 2
    assert offered.config.algorithm.t_max == 7
    assert offered.config.exchange.every == "100 steps"
    assert offered.config.seed == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_bytes": 4}, "bytes of weights: parent 4, child 36620"),
        (
            {"spaces": "observations: [9] of float32; actions: of 2 categories"},
            "environment observations: parent [9] of float32, child [4] of float32: use",
        ),
        ({"fingerprint": "0" * 64}, "network fingerprint: parent 000000000000, child"),
        ({"codecs": ("zip",)}, "codecs: parent zip, child float32"),
        ({"oldest_protocol": 9, "newest_protocol": 12}, "9 to 12"),
        ({"environment": {"id": "Missing-v0"}}, "Missing-v0"),
        ({"environment": {"id": "os:getcwd"}}, "--allow os"),
        ({"environment": {"id": "tests.fakes:counting"}}, "--allow tests.fakes"),
        ({"algorithm": {"name": "a3c", "learning_rate": -1}}, "learning_rate"),
        ({"algorithm": {"nonsense": 1}}, "nonsense"),
        ({"algorithm": {"name": "tests.fake_algorithms:Lazy"}}, "no algorithm from tests.fake_algorithms"),
        ({"algorithm": {"name": 3}}, "algorithm.name"),
        ({"network": {"hidden": [64, 65]}}, "bytes of weights: parent 36620"),
        ({"exchange": {"every": "soon"}}, "exchange.every"),
    ],
)
def test_a_difference_is_one_line_at_both_ends(changes: dict[str, Any], words: str) -> None:
    hello = hello_of()
    ours, theirs = memory_pair()
    child = ChildThread(theirs)
    with pytest.raises(HandshakeRefused) as refused:
        offer(ours, msgspec.structs.replace(hello, **changes), MOST, name="parent")
    assert words in str(refused.value)
    assert refused.value.permanent
    assert "\n" not in str(refused.value)
    outcome = child.join()
    assert isinstance(outcome, HandshakeRefused)
    assert words in str(outcome)


def test_an_owner_can_allow_a_module() -> None:
    hello = hello_of("tests.fakes:counting")
    _, offered = shake(hello, allow=("tests",))
    assert offered.config.environment.id == "tests.fakes:counting"


def test_plug_ins_of_another_version_are_noticed() -> None:
    hello = hello_of("tests.fakes:counting")
    other = msgspec.structs.replace(hello, fingerprint="1" * 64)
    ours, theirs = memory_pair()
    ChildThread(theirs, allow=("tests",))
    with pytest.raises(HandshakeRefused, match="same versions of marl, of the environment and of plug-ins"):
        offer(ours, other, MOST, name="parent")


def test_what_an_allowed_module_has_imported_is_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "borrowing.py").write_text("from subprocess import run\n")
    monkeypatch.syspath_prepend(tmp_path)
    hello = hello_of()
    bad = {"id": "borrowing:run", "kwargs": {"args": ["touch", str(tmp_path / "ran")]}}
    ours, theirs = memory_pair()
    ChildThread(theirs, allow=("borrowing",))
    with pytest.raises(HandshakeRefused, match="no environment from subprocess"):
        offer(ours, msgspec.structs.replace(hello, environment=bad), MOST, name="parent")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("capacity", "words"),
    [(319, "2 workers x 32 environments x 5 steps = 320"), (10**12, "MiB are free: make it smaller")],
)
def test_a_replay_that_does_not_fit_the_child(capacity: int, words: str) -> None:
    hello = hello_of("CartPole-v1", replay__ratio=1.0, replay__capacity=320)
    _, offered = shake(hello)
    assert offered.config.replay.ratio == 1
    ours, theirs = memory_pair()
    ChildThread(theirs)
    other = msgspec.structs.replace(hello, replay={"ratio": 1.0, "capacity": capacity})
    with pytest.raises(HandshakeRefused, match=f"the child cannot take part: replay.capacity.*{words}"):
        offer(ours, other, MOST, name="parent")


def test_a_child_answers_probes_before_the_hello() -> None:
    ours, theirs = memory_pair()
    child = ChildThread(theirs)
    ours.limit(MOST_BYTES)
    ours.send(Message(Kind.PROBE, "parent"))
    assert ours.recv(20, probe_buffers).kind is Kind.PROBE
    offer(ours, hello_of(), MOST, name="parent")
    assert isinstance(child.join(), Offer)


def test_a_parent_may_only_measure() -> None:
    ours, theirs = memory_pair()
    child = ChildThread(theirs)
    assert probe(ours, name="parent").workers == 2
    assert child.join() is None


def test_a_child_answers_probes_for_a_while_only() -> None:
    ours, theirs = memory_pair()
    child = ChildThread(theirs)
    for _ in range(MOST_PROBES):
        ours.send(Message(Kind.PROBE, "parent"))
        assert ours.recv(20, probe_buffers).kind is Kind.PROBE
    refused = child.join()
    assert isinstance(refused, HandshakeRefused)
    assert "expected a hello, got a probe" in str(refused)


def test_a_child_that_serves_another_run_is_not_measured() -> None:
    """It could not take part: a parent that counts on it would choose wrongly."""
    ours, theirs = memory_pair()
    theirs.limit(MOST_BYTES)
    ours.send(Message(Kind.PROBE, "parent", info={"work": True}))
    assert read_hello(theirs, name="child", workers=2, busy=lambda: True) is None
    assert not theirs.bytes_sent


def test_a_child_of_an_earlier_build_hears_of_newer_settings_only_where_they_are_set() -> None:
    newer = {"moments", "outer_optimizer", "outer_beta1", "outer_beta2", "outer_epsilon"}
    assert not newer & hello_of("CartPole-v1").exchange.keys()
    hello = hello_of("CartPole-v1", exchange__moments="second", exchange__outer_beta2=0.9)
    assert newer & hello.exchange.keys() == {"moments", "outer_beta2"}
    assert examine(hello, allow=(), workers=1).config.exchange.moments == "second"
