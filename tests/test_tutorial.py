"""docs/tutorial.md is true: its code is one module that learns, its commands run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from tests.commands import BARE, MARL, ROOT, succeed

PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_has_what_is_tested_here() -> None:
    assert len(BLOCKS) == 3
    assert all(line.startswith("marl ") for block in BLOCKS for line in block.splitlines())


LONGEST = pytest.param(BLOCKS[2], marks=pytest.mark.slow)


@pytest.mark.parametrize("block", [*BLOCKS[:2], LONGEST], ids=["alone", "learner", "children"])
def test_the_tutorial(block: str, tmp_path: Path) -> None:
    code = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "tutorial.py").write_text("\n".join(code), encoding="utf-8")
    for line in block.splitlines():
        words = shlex.split(line)[1:]
        if words[0] == "evaluate":
            out = succeed(*MARL, *words, "--no-picture", cwd=tmp_path)
            # Twenty episodes of at least .7 ended the run; a fresh mean, 1 in most runs, may be lower. At random: -.6.
            assert float(re.search(r"^mean +(\S+)", out, re.MULTILINE)[1]) >= 0.5  # type: ignore[index]
        else:
            out = succeed(*MARL, *words, "--plain", *BARE, cwd=tmp_path)
            assert out.splitlines()[-2].startswith("Solved after "), out
