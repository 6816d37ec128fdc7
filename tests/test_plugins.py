import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marl.errors import PluginError
from marl.plugins import load_module, load_object


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
        ("tests.fakes:nothing", "module 'tests.fakes' has no 'nothing': check the part after the colon"),
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
