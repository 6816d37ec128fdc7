import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from marl.errors import PluginError
from marl.plugins import foreign_code, load_module, load_object


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != ""])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_object_by_its_name() -> None:
    from tests.fakes import CountingEnv

    assert load_object("tests.fakes:CountingEnv") is CountingEnv


def test_a_module_of_the_current_folder(folder: Path) -> None:
    (folder / "my_first_plugin.py").write_text("answer = 42\n")
    assert load_object("my_first_plugin:answer") == 42
    assert sys.path[-1] == str(folder)  # last: it hides nothing that is installed


@pytest.mark.parametrize("name", ["", "no_colon", ":object", "module:", ":"])
def test_a_malformed_name(name: str) -> None:
    with pytest.raises(PluginError, match=r"expected package\.module:object, got"):
        load_object(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "nowhere.at_all:object",
            "no module named 'nowhere' .for 'nowhere.at_all'.: install it, or run from the folder",
        ),
        (
            "tests.fakes:nothing",
            r"module 'tests.fakes' \(.*fakes\.py\) has no 'nothing': check the part after the colon",
        ),
        ("..relative:object", "importing '..relative' failed"),
    ],
)
def test_what_is_not_there(name: str, words: str) -> None:
    with pytest.raises(PluginError, match=words) as caught:
        load_object(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import a_package_that_is_missing\n", "no module named 'a_package_that_is_missing' .for 'my_broken_plugin'."),
        ("1 / 0\n", "importing 'my_broken_plugin' failed: ZeroDivisionError"),
        ("def f(:\n", "importing 'my_broken_plugin' failed: SyntaxError"),
    ],
)
def test_a_module_whose_code_fails(folder: Path, code: str, words: str) -> None:
    (folder / "my_broken_plugin.py").write_text(code)
    with pytest.raises(PluginError, match=words) as caught:
        load_module("my_broken_plugin")
    assert "\n" not in str(caught.value)


def refused(name: str) -> str:
    with pytest.raises(PluginError) as caught:
        load_object(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_file_than_the_user_means(folder: Path) -> None:
    """Python's own ``test`` and ``code`` come first: the message says which file was imported."""
    for name in ("test", "code"):
        (folder / f"{name}.py").write_text("class Env: ...\n")
        message = refused(f"{name}:Env")
        assert message.startswith(f"module '{name}' (/")
        assert message.endswith(f"has no 'Env', which hides your {name}.py: give that another name")
    (folder / "envs").mkdir()
    (folder / "envs" / "maze.py").write_text("")
    assert "there is envs/maze.py, whose name is envs.maze" in refused("maze:Env")
    assert "(the folder " in refused("envs:Env")
    assert "no __init__.py" in refused("envs:Env")
    assert "(a part of Python) has no 'Env'" in refused("sys:Env")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("__main__:Env", "put the code into a file of its own"),
        ("mine.py:Env", "got the file 'mine.py': write mine:object"),
        ("envs/mine:Env", "write envs.mine:object"),
        ("./envs/mine.py:Env", "write envs.mine:object"),
    ],
)
def test_what_is_no_name_of_a_module(folder: Path, name: str, words: str) -> None:
    (folder / "mine.py").write_text("raise AssertionError('never imported')\n")
    assert words in refused(name)


def test_a_module_that_ends_the_program(folder: Path) -> None:
    (folder / "ends_here.py").write_text("import sys\nsys.exit(0)\n")
    assert "importing 'ends_here' failed: SystemExit: 0" in refused("ends_here:Env")


def test_a_file_with_a_dash(folder: Path) -> None:
    (folder / "my-game.py").write_text("Env = 5\n")
    assert load_object("my-game:Env") == 5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            "set_default_dtype(torch.float64)",
            "default dtype to be torch.float32, got torch.float64, which sets_defaults",
        ),
        ("set_default_device('meta')", "default device to be cpu, got meta"),
    ],
)
def test_a_module_that_changes_torchs_defaults(folder: Path, call: str, words: str) -> None:
    (folder / "sets_defaults.py").write_text(f"import torch\ntorch.{call}\n")
    try:
        assert words in refused("sets_defaults:Env")
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def test_other_code_disturbs_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints is no part of a command's output, and the folder and the threads are as before."""
    threads = torch.get_num_threads()
    with foreign_code("mine"):
        print("hello")
        os.chdir("/")
        torch.set_num_threads(threads + 1)
    assert Path.cwd() == folder
    assert torch.get_num_threads() == threads
    assert capsys.readouterr() == ("", "hello\n")
