"""The studies that come with marl can be made."""

from pathlib import Path

import pytest

from marl.studies.plan import plan
from marl.studies.study_file import read_study

FOLDER = Path(__file__).parents[2] / "studies"
FILES = [each for each in sorted(FOLDER.glob("*.toml")) if not each.name.endswith(".base.toml")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_its_settings_go_together(file: Path, tmp_path: Path) -> None:
    study = read_study(file)
    planned = plan(study, tmp_path, ["studies.swing_up"])
    assert len(planned) == len(study.cells) * len(study.seeds)
