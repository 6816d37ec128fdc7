import re
from pathlib import Path

import pytest

from marl.cli.main import COMMANDS
from marl.config.files import preset_names
from marl.config.settings import all_keys

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks/README.md",
]


def test_every_setting_is_documented():
    listed = set(
        re.findall(r"^\| `([a-z0-9_.]+)` \|", (ROOT / "docs/settings.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    keys = {key for key in all_keys() if "." in key} | {"seed", "deterministic"}
    assert listed == keys


def test_every_command_and_preset_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"marl {name}" not in text] == []
    assert [name for name in preset_names() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_file_of_the_journey_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    journey = text.split("## The journey")[1].split("## Where things live")[0]
    files = re.findall(r"`(marl/[a-z_/]+\.py)`", journey)
    assert len(files) >= 8
    assert [file for file in files if not (ROOT / file).is_file()] == []
