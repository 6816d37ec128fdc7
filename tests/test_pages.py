"""Pages for users are true: their files are written, their programs run, their commands are understood and end well.

A block that begins with ``# name.py`` or ``# name.toml`` belongs to that file; any other of Python is a program. What
has no language is what the command before it says.

The commands of all other pages are understood, and the environments of ``WORLDS`` take their settings.
"""

import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from marl.cli.main import cli
from marl.cli.options import collect_settings
from marl.cluster.find_spaces import find_spaces
from marl.cluster.own_parts import try_parts
from marl.config.files import load_config
from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.errors import MarlError, MissingExtra
from tests.commands import BARE, MARL, ROOT, succeed
from tests.slow.cluster import child
from tests.test_doc_output import shape

PAGES = {  # and the page whose files it uses
    "your_environment": "",
    "your_network": "your_environment",
    "reward_shaping": "your_environment",
    "from_stable_baselines3": "",
    "from_cleanrl": "",
    "from_rllib": "",
}
# What a page writes is tried where its files are.
WRITTEN = r"cannot read the configuration file \w+\.toml|no module named '(ideas|tutorial)'"
PEERS = ("stable_baselines3",)  # libraries that a page may use, if they are installed
WORLDS = ("worlds", "atari", "defaults", "spaces")  # pages about environments that others bring
EVERY = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks/README.md")
SCRIPTS = {"init_child.py": "child", "init_parent.py": "parent", "a3c_single_machine.py": "train",
           "test_env.py": "evaluate"}  # fmt: skip
FEW = {"train": BARE, "parent": (*BARE, "--set", "exchange.every='0.2 seconds'"), "check": ("--seconds", "0.1"),
       "evaluate": ("--episodes", "3")}  # fmt: skip


class Block(NamedTuple):
    """A block of a page."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that it belongs to; "" if it is a program."""
        named = re.match(r"# (\w+\.(?:py|toml))\n", self.text) if self.language in ("python", "toml") else None
        return named[1] if named else ""

    @property
    def commands(self) -> list[list[str]]:
        """The words of each line of a shell block."""
        lines = self.text.replace("\\\n", " ").splitlines() if self.language == "sh" else []
        return [shlex.split(line, comments=True) for line in lines]


def blocks(page: str) -> list[Block]:
    return blocks_of(ROOT / f"docs/{page}.md")


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def commands_of(path: Path) -> list[list[str]]:
    """The words of each command of a page after ``marl``, in whatever kind of block and behind whatever prompt."""
    found = []
    for block in blocks_of(path):
        for line in block.text.replace("\\\n", " ").splitlines() if block.language != "python" else ():
            line = re.sub(r"^\w*\$ +", "", line)
            if not re.match(r"marl |python \w+\.py", line):
                continue
            program, *words = shlex.split(line, comments=True)
            if program == "python":
                if words[0] not in SCRIPTS:
                    continue
                words[0] = SCRIPTS[words[0]]
            found.append(words[: words.index(">")] if ">" in words else words)
    return found


def write_files(page: str, folder: Path) -> set[str]:
    """Write the files of a page and of the one that it builds on; the names of their modules."""
    files: dict[str, str] = {}
    for each in filter(None, (PAGES[page], page)):
        for block in blocks(each):
            if block.file:
                files[block.file] = files.get(block.file, "") + block.text
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name.removesuffix(".py") for name in files if name.endswith(".py")}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page, in a folder with its files, from which they can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = write_files(request.param, tmp_path)
    yield request.param
    for name in modules:
        sys.modules.pop(name, None)


def test_its_commands_are_understood_and_its_programs_run(page: str) -> None:
    """All but what trains: the parts that it would train with are made and tried."""
    assert len(blocks(page)) >= 3
    for block in blocks(page):
        for words in block.commands:
            assert words[0] == "marl"
            understand(words[1:])
        if block.language == "python" and not block.file:
            Path("program.py").write_text(block.text, encoding="utf-8")
            compile(block.text, page, "exec")
            if not any(f"from {name}" in block.text for name in ("marl", *PEERS)):
                runpy.run_path("program.py")


def understand(words: list[str]) -> None:
    """Parse a command; make the parts of a run that it asks for."""
    config = parse(words)
    if config is not None:
        assert try_parts(config, find_spaces(config)) is not None


def parse(words: list[str]) -> Config | None:
    """What a command sets; None if it is none that trains.

    Raises:
        click.UsageError: there is no such command or option.
        MarlError: there is no such setting, file or module.
    """
    context = cli.make_context("marl", list(words))
    name, command, rest = cli.resolve_command(context, words)
    assert name is not None
    assert command is not None
    given = command.make_context(name, rest, parent=context).params
    if name not in ("train", "parent"):
        return None
    named = {"algorithm.name": given["algorithm"], "exchange.name": given["exchange"]}
    settings = collect_settings(given["overrides"]) | {key: each for key, each in named.items() if each}
    return load_config(given["environment"], settings, allow=given["allow"])


def test_a_command_that_is_none_is_not_understood() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        understand(["train", "CartPole-v1", "--stepps", "3"])


def test_every_command_of_every_page_is_understood() -> None:
    wrong, count = [], 0
    for path in EVERY:
        for words in commands_of(path):
            count += 1
            try:
                parse(words)
            except (click.UsageError, MarlError) as error:
                if not re.search(WRITTEN, str(error)):
                    wrong.append((path.name, " ".join(words), str(error)))
    assert wrong == []
    assert count > 120


def test_every_extra_of_every_page_can_be_installed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = [each for path in EVERY for each in re.findall(r"marl-cluster\[([a-z0-9,]+)\]", path.read_text("utf-8"))]
    assert len(named) >= 10
    assert {name for each in named for name in each.split(",")} <= set(extras)


MAZE = """
import gymnasium
import numpy as np
from gymnasium import spaces


class Maze(gymnasium.Env):
    robot = spaces.Dict({"name": spaces.Discrete(5), "place": spaces.Box(-1, 1, (2,), np.float32)})
    observation_space = spaces.Dict({"mission": spaces.Discrete(4), "robot": robot})
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 9
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), float(action), self.left == 0, False, {}
"""


@pytest.fixture
def maze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder with the package that docs/spaces.md takes for the reader's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_package.py").write_text(MAZE, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("my_package", None)


def worlds_of(page: str) -> Iterator[tuple[list[str], Config, Spaces]]:
    """The commands of a page that train where this machine has the packages."""
    for words in commands_of(ROOT / f"docs/{page}.md"):
        config = parse(words)
        if config is not None:
            with suppress(MissingExtra):
                yield words, config, find_spaces(config)


@pytest.mark.usefixtures("maze")
@pytest.mark.parametrize("page", WORLDS)
def test_the_environments_of_a_page_take_its_settings(page: str) -> None:
    assert [try_parts(config, spaces) for _, config, spaces in worlds_of(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WORLDS)
def test_the_environments_of_a_page_train(page: str, maze: Path) -> None:
    """As it stands there, but with few steps, and a replay that begins soon; so does the look at an environment that
    has no preset.
    """
    soon = ("--set", "replay.start=500")
    for words, _, _ in worlds_of(page):
        assert "Ended (steps)" in succeed(*MARL, *shortened(words, ""), *BARE, *soon, cwd=maze)


@pytest.mark.slow
def test_a_policy_that_remembers_is_played_as_its_page_says(maze: Path) -> None:
    trains = next(words for words in commands_of(ROOT / "docs/spaces.md") if "network.core=gru" in words)
    succeed(*MARL, *shortened(trains, ""), *BARE, cwd=maze)
    (program,) = (block.text for block in blocks("spaces") if block.language == "python")
    (maze / "program.py").write_text(f"{program}print(ended)\n", encoding="utf-8")
    assert succeed("program.py", cwd=maze) == "True\n"


@pytest.mark.slow
@pytest.mark.usefixtures("marl_home")
def test_all_of_it_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, but with few steps and few episodes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for each other take minutes on a busy machine
    for name in PEERS:
        if any(f"from {name} " in block.text for block in blocks(page)):
            pytest.importorskip(name, reason="make test-more installs it")
    with ExitStack() as running:
        said, address = "", ""
        for block in blocks(page):
            if block.language == "python" and not block.file:
                fewer = re.sub(r"\b(\d+)_000\b", lambda number: str(50 * int(number[1])), block.text)
                (tmp_path / "program.py").write_text(fewer, encoding="utf-8")
                said = succeed("program.py", cwd=tmp_path)
            elif not block.language:
                shapes = {shape(line) for line in said.splitlines()}
                assert [line for line in block.text.splitlines() if shape(line) not in shapes] == []
            for words in block.commands:
                if words[1] == "child":
                    address = running.enter_context(child(tmp_path, *words[2:])).address
                else:
                    said = succeed(*MARL, *shortened(words[1:], address), *FEW.get(words[1], ()), cwd=tmp_path)


def shortened(words: list[str], address: str) -> list[str]:
    """A command that trains little, on the child that listens at ``address``."""
    line = re.sub(r"(?<=-ip )[\d.]+", address, " ".join(map(shlex.quote, words)))
    if words[0] in ("train", "parent"):
        line = re.sub(r" --steps \d+", "", line) + " --steps 3000"
    return shlex.split(line)
