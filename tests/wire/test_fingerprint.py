"""Whatever changes the meaning of the flat weights changes the fingerprint; nothing else does."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from marl.data.spaces import Part
from marl.errors import PluginError
from marl.wire.fingerprint import fingerprint, sources_of
from tests.plain_spaces import plain_spaces

SPACES = plain_spaces((4,), num_actions=2)


def network(hidden: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 2))


def test_equal_networks_have_equal_fingerprints() -> None:
    first = fingerprint(network(), settings={"hidden": (8,), "activation": "tanh"}, spaces=SPACES)
    second = fingerprint(network(), settings={"activation": "tanh", "hidden": [8]}, spaces=SPACES)
    assert first == second
    assert len(first) == 64


def test_every_part_counts() -> None:
    found = {
        fingerprint(network(), settings={}, spaces=SPACES),
        fingerprint(network(9), settings={}, spaces=SPACES),
        fingerprint(network().to(torch.float64), settings={}, spaces=SPACES),
        fingerprint(nn.Sequential(*reversed(list(network()))), settings={}, spaces=SPACES),  # type: ignore[call-overload]
        fingerprint(network(), settings={"activation": "relu"}, spaces=SPACES),
        fingerprint(network(), settings={}, spaces=SPACES._replace(actions=Part((), "int32", (2,), (1,)))),
        fingerprint(network(), settings={}, spaces=SPACES._replace(observations={"a": Part((4,))})),
        fingerprint(network(), settings={}, spaces=SPACES, sources={"plugin": "x = 1"}),
        fingerprint(network(), settings={}, spaces=SPACES, sources={"plugin": "x = 2"}),
    }
    assert len(found) == 9


def test_sources_do_not_depend_on_line_ends(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for name, text in (("unix_plugin", b"a = 1\nb = 2\n"), ("windows_plugin", b"a = 1\r\nb = 2\r\n")):
        (tmp_path / f"{name}.py").write_bytes(text)
        module = ModuleType(name)
        module.__file__ = str(tmp_path / f"{name}.py")
        monkeypatch.setitem(sys.modules, name, module)
    sources = sources_of(["unix_plugin", "windows_plugin"])
    assert sources["unix_plugin"] == sources["windows_plugin"] == "a = 1\nb = 2"


@pytest.mark.parametrize("name", ["never_imported_plugin", "math"])
def test_a_module_without_source_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match=name):
        sources_of([name])
