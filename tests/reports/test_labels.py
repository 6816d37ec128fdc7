"""What a picture says of a run, whatever stands in its settings."""

from pathlib import Path

import pytest

from marl.reports.plots.labels import Labels, read_labels


def test_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[environment]\nid = "Acrobot-v1"\nsolved_return = -100\n[algorithm]\nname = "ppo"\n')
    assert read_labels(file) == Labels("Acrobot-v1", "ppo", -100.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seed = 1",
        "environment = 1\nalgorithm = 2",
        "[environment]\nid = 1\nsolved_return = 'x'\n[algorithm]\nname = []",
        "[environment]\nsolved_return = nan\n[algorithm]",
        "[environment]\nsolved_return = " + 400 * "9" + "\n[algorithm]",
        "[environment]\nsolved_return = " + 5000 * "9" + "\n[algorithm]",
        "x = " + 5000 * "[",
        "\udcff",
    ],
)
def test_settings_that_say_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(text.encode(errors="surrogateescape"))
    assert read_labels(tmp_path / "config.toml") == Labels()
    assert read_labels(tmp_path / "missing.toml") == Labels()
