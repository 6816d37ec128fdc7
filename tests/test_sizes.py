"""A file fits in memory and a folder on a screen: what grows beyond is split along a real line (CONTRIBUTING.md)."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES, MOST_FILES = 300, 16

FOLDERS = sorted(folder.name for folder in (ROOT / "marl").iterdir() if any(folder.rglob("*.py")))


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_and_folders_stay_small(folder: str) -> None:
    assert too_large(ROOT / "marl" / folder) == []


def test_files_beside_the_folders_stay_small() -> None:
    assert too_large(ROOT / "marl", deep=False) == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "examples"])
def test_files_elsewhere_stay_small(folder: str) -> None:
    """Their folders may have many files: tests/ mirrors marl/, and each benchmark is a program."""
    assert too_large(ROOT / folder, most_files=None) == []


def test_the_checker_sees_what_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(MOST_FILES):
        (tmp_path / f"many/part_{number}.py").write_text("x = 1\n" * MOST_LINES)
    assert too_large(tmp_path) == []
    (tmp_path / "many/one_more.py").write_text("x = 1\n" * (MOST_LINES + 1))
    assert too_large(tmp_path) == ["many: 17 files", "many/one_more.py: 301 lines"]
    assert too_large(tmp_path, most_files=None) == ["many/one_more.py: 301 lines"]


def too_large(root: Path, *, deep: bool = True, most_files: int | None = MOST_FILES) -> list[str]:
    """Every folder and file below ``root`` that is too large, one line each.

    Args:
        most_files: of a folder; None: any number.
    """
    found = []
    for folder in sorted([root, *(path for path in root.rglob("*") if deep and path.is_dir())]):
        files = sorted(folder.glob("*.py"))
        if most_files is not None and len(files) > most_files:
            found.append(f"{folder.relative_to(root)}: {len(files)} files")
        for file in files:
            lines = len(file.read_text(encoding="utf-8").splitlines())
            if lines > MOST_LINES:
                found.append(f"{file.relative_to(root)}: {lines} lines")
    return found
