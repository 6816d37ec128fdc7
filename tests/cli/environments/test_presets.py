"""``marl presets``."""

import json
from collections.abc import Callable

from marl.config.presets import all_presets
from tests.cli.conftest import Answer


def test_a_line_for_each(command: Callable[..., Answer]) -> None:
    answer = command("presets")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].split() == ["preset", "algorithm", "solved", "at", "training", "until", "solved,", "2", "cores"]
    for preset, line in zip(all_presets(), lines[1:], strict=False):
        assert line.startswith(preset.name)
        assert {preset.algorithm, f"{preset.solved_return:g}"} <= set(line.split())
        assert line.endswith(preset.training or "not measured")
    assert "marl train PRESET --algorithm NAME" in lines[-1]


def test_as_json(command: Callable[..., Answer]) -> None:
    listed = json.loads(command("presets", "--json").out)
    assert [each["name"] for each in listed] == [each.name for each in all_presets()]
    assert listed[0].keys() == {"name", "algorithm", "default", "solved_return", "training"}
