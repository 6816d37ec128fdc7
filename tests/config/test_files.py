"""Where settings come from."""

from pathlib import Path

import pytest

from marl.algorithms.a3c import A3C
from marl.config.files import load_config, says, to_toml
from marl.plugins import ANYTHING
from tests.config.cases import OTHER, refused

ROOT = Path(__file__).parents[2]


def test_a_preset_an_environment_or_a_file(tmp_path: Path) -> None:
    assert load_config("CartPole-v1").environment.solved_return == 475
    other = load_config("my.module:Thing-v0", {"stop.steps": 5})
    assert (other.environment.id, other.algorithm) == ("my.module:Thing-v0", A3C())
    path = tmp_path / "mine.toml"
    path.write_text('seed = 3\n[environment]\nid = "Acrobot-v1"\n[stop]\nsteps = 9\n')
    assert load_config(path).seed == load_config(str(path)).seed == 3
    assert load_config(path, {"seed": 4}).seed == 4  # single keys win


def test_a_copy_of_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((ROOT / "marl/presets/CartPole-v1.toml").read_text())
    assert load_config(path) == load_config("CartPole-v1")


def test_an_unknown_key_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[algorithm]\nlearning_rte = 1e-3\n")
    assert "did you mean 'algorithm.learning_rate'?" in refused(path)
    path.write_text("zzz = 1\n")
    assert "known: seed, deterministic, environment" in refused(path)


def test_a_section_within_a_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 1\n")
    assert refused(path, seed__x=2) == "seed.x: seed is a value, not a section"


def test_single_keys_reach_into_arguments_of_the_environment() -> None:
    config = load_config("CartPole-v1", {"environment.kwargs.gravity": 3, "environment.kwargs.deep.er": 4})
    assert config.environment.kwargs == {"gravity": 3, "deep": {"er": 4}}


@pytest.mark.parametrize(
    ("content", "words"), [(b"seed = ", "is not a TOML file"), (b"\xff\xfe", "cannot read the configuration file")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    assert words in refused(path)
    assert "cannot read the configuration file" in refused(tmp_path / "missing.toml")


def test_all_settings_at_once_survive_a_file(tmp_path: Path) -> None:
    contradict = ("stop.minutes", "algorithm.schedule_minutes", "exchange.name", "replay.ratio")
    apart = (*contradict, "exchange.outer_optimizer", "exchange.parts")
    config = load_config(None, {key: value for key, value in OTHER.items() if key not in apart})
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert load_config(path, allow=(ANYTHING,)) == config


def test_what_is_said_of_a_section(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[exchange]\nevery = "1 seconds"\n')
    assert says("exchange", file, {})
    assert says("exchange", "CartPole-v1", {})  # its preset does
    assert says("exchange", "CartPole-v1", {"algorithm.name": "ppo"})  # and that of this algorithm
    assert not says("exchange", "CartPole-v1", {"algorithm.name": "sac"})
    assert not says("exchange", "LunarLander-v3", {"environment.per_worker": 4})
    assert says("exchange", None, {"exchange.codec": "int8"})
