"""A weights file is data: what a stranger's names is neither imported nor run."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import marl.reports.plots.distribution  # noqa: F401  loaded when it is first used
from marl import api
from marl.cluster.runs.render import render_episode
from marl.config.settings import from_tree, to_tree
from marl.data.spaces import Part, Spaces
from marl.data.stored import as_plain
from marl.errors import MarlError, PluginError, WeightsFileError
from marl.training.saved.weights_file import network_tensors, to_bytes
from marl.trust.seal import make_seal_key
from tests.audit import recorded
from tests.plain_spaces import plain_spaces

SPACES = plain_spaces((4,), num_actions=2)
COUNTING = plain_spaces((3,), num_actions=3)
Read = Callable[[Path], object]


def write(path: Path, tree: dict[str, Any], *, spaces: Spaces = SPACES, own: bool = False) -> Path:
    """A weights file whose network fits, of settings that nobody has checked."""
    config = from_tree({})
    network = config.algorithm.build_network(spaces, config.network, 1)
    info = {"config": {**to_tree(config), **tree}, "spaces": as_plain(spaces)}
    path.write_bytes(to_bytes(network_tensors(network), info, make_seal_key() if own else None))
    return path


@pytest.mark.parametrize(
    "read",
    [
        lambda path: render_episode(str(path), seed=0, greedy=True, video=None),
        api.load,
        api.evaluate,
    ],
)
def test_a_command_in_a_strangers_file_does_not_run(tmp_path: Path, read: Read) -> None:
    trace = tmp_path / "ran"
    kwargs = {"cmd": f"touch {trace}"}
    path = write(tmp_path / "weights.pt", {"environment": {"id": "subprocess:getoutput", "kwargs": kwargs}})
    with recorded() as events, pytest.raises(PluginError) as refused:
        read(path)
    assert str(refused.value).endswith("repeat with --allow subprocess")
    assert "\n" not in str(refused.value)
    assert [event for event in events if not event.startswith("import 'marl")] == []
    assert not trace.exists()


def test_the_trap_works(tmp_path: Path) -> None:
    """Allowed by the user, the same file does run the command; what comes of it is still no environment."""
    trace = tmp_path / "ran"
    kwargs = {"cmd": f"touch {trace}"}
    path = write(tmp_path / "weights.pt", {"environment": {"id": "subprocess:getoutput", "kwargs": kwargs}})
    with recorded() as events, pytest.raises(MarlError, match="to make a gymnasium environment, got str"):
        api.evaluate(path, episodes=1, allow=("subprocess",))
    assert any("Popen" in event for event in events)
    assert trace.exists()


def test_a_module_beside_a_strangers_file_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.chdir(tmp_path)
    for tree in (
        {"environment": {"id": "planted:Env"}},
        {"environment": {"id": "planted:Env-v0"}},
        {"network": {"name": "planted:Net"}},
        {"algorithm": {"name": "planted:Algorithm"}},
        {"exploration": {"sampler": "planted:Sampler"}},
    ):
        with pytest.raises(PluginError, match=r"--allow planted$"):
            api.load(write(tmp_path / "weights.pt", tree))
    assert "planted" not in sys.modules


def test_sinks_that_trained_weights_are_not_needed_to_play(tmp_path: Path) -> None:
    path = write(tmp_path / "weights.pt", {"report": {"sinks": ["events", "not_here:Tracker"]}})
    assert api.load(path).act([0.0, 0.0, 0.0, 0.0]) in (0, 1)


def test_own_files_need_no_leave_and_strangers_get_it(tmp_path: Path) -> None:
    tree = {"environment": {"id": "tests.fakes:counting"}}
    path = write(tmp_path / "own.pt", tree, spaces=COUNTING, own=True)
    copy = tmp_path / "copied.pt"
    copy.write_bytes(path.read_bytes())
    assert len(api.evaluate(copy, episodes=2).returns) == 2
    path = write(tmp_path / "other.pt", tree, spaces=COUNTING)
    with pytest.raises(PluginError, match=r"--allow tests\.fakes$"):
        api.evaluate(path, episodes=2)
    assert len(api.evaluate(path, episodes=2, allow=("tests",)).returns) == 2
    changed = copy.read_bytes().replace(b"counting", b"refuses_", 1)
    assert changed != copy.read_bytes()
    copy.write_bytes(changed)
    with pytest.raises(MarlError):
        api.evaluate(copy, episodes=2)


def test_another_users_seal_is_worth_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "own.pt", {"environment": {"id": "tests.fakes:counting"}}, spaces=COUNTING, own=True)
    monkeypatch.setenv("MARL_HOME", str(tmp_path / "another"))
    with pytest.raises(PluginError, match=r"--allow tests\.fakes$"):
        api.load(path)


def test_critics_of_a_picture_may_be_larger_than_its_policy(tmp_path: Path) -> None:
    """The policy has no hidden layers, both critics and their copies have those that the settings say."""
    spaces = Spaces(Part((3, 3, 3), "uint8"), Part((1,), low=(-1.0,), high=(1.0,)))
    config = from_tree({"algorithm": {"name": "sac"}, "network": {"hidden": [600, 600]}})
    network = config.algorithm.build_network(spaces, config.network, 1)
    path = tmp_path / "weights.pt"
    path.write_bytes(to_bytes(network_tensors(network), {"config": to_tree(config), "spaces": as_plain(spaces)}))
    assert -1 <= api.load(path).act(np.zeros((3, 3, 3), np.uint8)) <= 1


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"network": {"policy": "squashed"}}, "network.policy = 'squashed' is for continuous actions"),
        ({"algorithm": {"name": "sac"}}, "sac needs continuous actions"),
    ],
)
@pytest.mark.parametrize("read", [api.load, api.evaluate])
def test_settings_that_do_not_fit_the_spaces_are_those_of_a_file(
    tmp_path: Path, read: Read, tree: dict[str, Any], words: str
) -> None:
    path = write(tmp_path / "weights.pt", tree)
    with pytest.raises(WeightsFileError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}: {words}")
    assert "\n" not in str(refused.value)
