"""Single settings of the command line."""

from typing import Any

import pytest

from marl.config.overrides import parse_override
from marl.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("algorithm.t_max=5", ("algorithm.t_max", 5)),
        (" algorithm.learning_rate = 2e-3 ", ("algorithm.learning_rate", 2e-3)),
        ("network.hidden=[64, 32]", ("network.hidden", [64, 32])),
        ("stop.solved=false", ("stop.solved", False)),
        ('environment.id="A-v0"', ("environment.id", "A-v0")),
        ("environment.id=A-v0", ("environment.id", "A-v0")),  # not TOML: taken as text
        ("environment.kwargs={gravity = -9.8}", ("environment.kwargs", {"gravity": -9.8})),
        ("environment.kwargs.name=a=b", ("environment.kwargs.name", "a=b")),
        ("report.runs=", ("report.runs", "")),
    ],
)
def test_single_keys_from_the_shell(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["", "seed", "=5", "  =5"])
def test_what_is_no_key_and_value(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected key\.path=value, got"):
        parse_override(text)
