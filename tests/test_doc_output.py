"""Where a page prints what a command says, the command says it: the same words, with other numbers, names and keys."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from marl.reports.children_table import children_table
from marl.reports.events import ChildRow
from tests.cli.conftest import Answer
from tests.cli.conftest import command as command
from tests.commands import MARL, ROOT, succeed

SEED = ("--seed", "1")  # solved soon


class Session(NamedTuple):
    """A command as a page shows it, and what it prints there."""

    words: list[str]
    lines: list[str]


def blocks(page: str) -> Iterator[list[str]]:
    """The lines of each block that has no language: what a terminal shows."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if not language:
            yield block.splitlines()


def sessions(page: str) -> Iterator[Session]:
    """Every command of these blocks with the lines that follow it."""
    for block in blocks(page):
        found: Session | None = None
        for line in filter(None, block):
            prompt = re.match(r"\w*\$ marl (.*)", line)
            if prompt:
                if found:
                    yield found
                found = Session(prompt[1].partition(" > ")[0].split(), [])
            elif found:
                found.lines.append(line)
        if found:
            yield found


def shape(line: str) -> str:
    """What is left of a line when numbers, paths, keys and the width of columns do not count."""
    line = re.sub(r"(?<![\w.])[\w.-]*(/[\w.+-]+)+", "PATH", line)
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d|\bnever\b", "WHEN", line)
    line = re.sub(r"marl-request-\d:[A-Z2-7-]+", "REQUEST", line)
    line = re.sub(r"\b[a-z2-7]{16}\b|\b[0-9a-f]{16,64}\b", "KEY", line)
    line = re.sub(r"-?\d[\d,]*(\.\d+)?", "N", line)
    return re.sub(r"\s+", " ", line).strip()


def fits(shown: str, said: str) -> bool:
    """Whether a page's line is one that a command has said; … stands for any end."""
    start, dots, _ = shown.partition("…")
    return shape(said).startswith(shape(start)) if dots else shape(said) == shape(shown)


def test_keys(command: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/keys.md, from the first command to the last."""
    monkeypatch.setenv("MARL_HOME", str(tmp_path / "home"))
    request = ""
    listed = list(sessions("keys.md"))
    assert [each.words[0] for each in listed] == ["keys", "invite", "nodes", "revoke", "keys", "request", "sign"]
    for each in listed:
        words = [request if word.startswith("marl-request") else word for word in each.words]
        if words[0] == "nodes":  # the page has invited two by then
            command("invite", "attic")
        answer = command(*words)
        assert answer.code == 0, answer
        said = [line for line in (answer.out + answer.err).splitlines() if not line.startswith("marl-ticket")]
        if words[0] == "request":
            request = said[0]
        assert len(said) == len(each.lines), (said, each.lines)
        for shown, line in zip(each.lines, said, strict=True):
            assert fits(shown, line), f"marl {' '.join(words)}\npage: {shape(shown)}\nsaid: {shape(line)}"


def progress(page: str) -> list[str]:
    """What a page shows of a run, line by line."""
    return [line for block in blocks(page) for line in block if not line.startswith(("child", "$", "127.0.0.1"))]


def unsaid(shown: list[str], said: str) -> list[str]:
    """Lines of a page that no line of a run looks like."""
    shapes = {shape(line) for line in said.splitlines()}
    return [shape(line) for line in shown if shape(line) not in shapes]


def test_a_run_on_one_machine(tmp_path: Path) -> None:
    lines = [line for line in progress("first_run.md") if "children" not in line]
    said = succeed(*MARL, "train", "CartPole-v1", "--plain", *SEED, cwd=tmp_path)
    assert len(lines) >= 3
    assert unsaid(lines, said) == []


@pytest.mark.slow
def test_a_run_on_two_children(tmp_path: Path) -> None:
    lines = [
        line for line in (*progress("first_run.md"), *progress("cluster.md")) if " %" not in line or "children" in line
    ]
    said = succeed(*MARL, "parent", "--local", "2", "--plain", *SEED, cwd=tmp_path)
    assert sum("children" in line for line in lines) >= 4
    assert unsaid(lines, said) == []


def test_the_table_of_children() -> None:
    (table,) = (block for block in blocks("cluster.md") if block[0].startswith("child"))
    row = ChildRow("127.0.0.1:39717", "training", 1, 2, 6357.0, 30.04, 2, 5.6, 938.0, 0.0013)
    stream = io.StringIO()
    Console(file=stream, width=100).print(children_table([row] * (len(table) - 1), 100))
    assert [shape(line) for line in table] == [shape(line) for line in stream.getvalue().splitlines()]
