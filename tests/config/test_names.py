"""Settings out of a stranger's file name code, and none of it is imported unasked."""

import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from marl.config.files import load_config, to_toml
from marl.config.names import demand_allowed, find_refused
from marl.errors import PluginError
from marl.trust.seal import make_seal_key


@pytest.fixture(autouse=True)
def no_trap_springs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``trap`` can be imported from here, and fails the test that does."""
    (tmp_path / "trap.py").write_text("raise AssertionError('imported')\n")
    (tmp_path / "lending.py").write_text("from subprocess import getoutput\nimport subprocess\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("tree", "module"),
    [
        ({"environment": {"id": "subprocess:getoutput", "kwargs": {"cmd": "true"}}}, "subprocess"),
        ({"environment": {"id": "trap:Snake-v0"}}, "trap"),
        ({"environment": {"id": "trap:a:b"}}, "trap"),
        ({"environment": {"id": "marl.plugins:load_object"}}, "marl.plugins"),
        ({"network": {"name": "trap:Network"}}, "trap"),
        ({"exploration": {"sampler": "trap.inner:Sampler"}}, "trap.inner"),
        ({"algorithm": {"name": "trap:Algorithm"}}, "trap"),
        ({"report": {"sinks": ["events", "trap:Sink"]}}, "trap"),
        ({"environment": {"id": "GymV26Environment-v0", "kwargs": {"env_id": "trap:Snake-v0"}}}, "trap"),
        ({"environment": {"id": "CartPole-v1", "kwargs": {"a": [{"b": "os.path:join"}]}}}, "os.path"),
        ({"environment": {"id": "CartPole-v1", "kwargs": {"a": {"trap.b": 1}}}}, "trap.b"),
        ({"environment": {"id": "Elsewhere-v0"}}, "trap"),
        ({"environment": {"id": "Wrapped-v0"}}, "trap"),
    ],
)
def test_what_nobody_asked_for(tree: dict[str, Any], module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
    gymnasium.register("Elsewhere-v0", entry_point="trap:Env")
    wrapper = gymnasium.envs.registration.WrapperSpec("w", "trap:Wrapper", {})
    entry = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"
    gymnasium.register("Wrapped-v0", entry_point=entry, additional_wrappers=(wrapper,))
    refused = find_refused(tree, ())
    assert refused is not None
    assert refused.module == module
    assert find_refused(tree, ("*",)) is None
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"environment": {"id": "CartPole-v1"}},
        {"environment": {"id": "LunarLander-v3", "kwargs": {"continuous": True, "note": "random", "x": "model.xml"}}},
        {"environment": {"id": "FrozenLake-v1", "kwargs": {"desc": ["SFFF", "FHFH"], "map_name": "4x4"}}},
        {"environment": {"id": "Missing-v3"}},
        {"environment": 3, "network": [], "algorithm": {"name": 5}},
        {"algorithm": {"name": "ppo"}},
    ],
)
def test_what_needs_no_leave(tree: dict[str, Any]) -> None:
    assert find_refused(tree, ()) is None


def test_an_allowed_module_is_not_what_it_has_imported() -> None:
    for attribute in ("getoutput", "subprocess"):
        refused = find_refused({"environment": {"id": f"lending:{attribute}"}}, ("lending",))
        assert (refused.module if refused else None) == ("subprocess" if attribute == "getoutput" else None)
    assert find_refused({"environment": {"id": "lending:getoutput"}}, ("lending", "subprocess")) is None


@pytest.mark.parametrize(
    "name", ["trap; rm -rf x:Env", "\x1b[31mtrap:Env", "trap\n:Env", ":Env", "..trap:Env", "$(x):E"]
)
def test_a_name_that_is_no_module_is_never_part_of_a_command(name: str) -> None:
    with pytest.raises(PluginError, match=r"expected package\.module:object") as caught:
        find_refused({"environment": {"id": name}}, ())
    assert str(caught.value).isprintable()


TOML = '[environment]\nid = "trap:Snake"\n[network]\nname = "tests.fakes:Net"\n[stop]\nsteps = 9\n'


def test_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    with pytest.raises(PluginError, match=r"mine\.toml needs code of the module trap .*--allow trap$"):
        load_config(path)
    with pytest.raises(PluginError, match=r"--allow tests\.fakes$"):  # what the user has typed needs no leave
        load_config(path, {"environment.id": "CartPole-v1"})
    config = load_config(path, {"environment.id": "CartPole-v1"}, allow=("tests",))
    assert (config.environment.id, config.network.name) == ("CartPole-v1", "tests.fakes:Net")
    assert load_config("trap:Snake", {"network.name": "trap:Net"}).environment.id == "trap:Snake"


def test_a_file_of_somebody_elses_sends_no_run_folders_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[report]\nruns = "s3://theirs/runs"\n[stop]\nsteps = 9\n')
    with pytest.raises(PluginError, match=r"mine\.toml sends run folders to 's3://theirs/runs', .*--runs$"):
        load_config(path)
    assert load_config(path, {"report.runs": "s3://mine"}).report.runs == "s3://mine"  # what the user has typed
    assert load_config(path, allow=("*",)).report.runs == "s3://theirs/runs"
    path.write_text(to_toml(load_config("CartPole-v1", {"report.runs": "s3://mine/runs"}), make_seal_key()))
    assert load_config(path).report.runs == "s3://mine/runs"


def test_the_file_of_an_own_run(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    text = to_toml(load_config("trap:Snake", {"stop.steps": 9}), make_seal_key())
    path.write_text(text)
    assert load_config(path).environment.id == "trap:Snake"
    path.write_text(text.replace("steps = 9", "steps = 8"))
    with pytest.raises(PluginError, match="--allow trap"):
        load_config(path)
    trusted = {"environment": {"id": "trap:Snake"}}
    assert load_config(path, trusted=trusted).stop.steps == 8
    with pytest.raises(PluginError, match="--allow trap"):
        load_config(path, trusted={"environment": {"id": "trap:Other"}})


@pytest.mark.parametrize("value", [["F" * 200] * 200, {"a" * 10_000: 1}, [0] * 5_000], ids=["text", "key", "numbers"])
def test_an_environment_of_a_stranger_gets_few_arguments(value: object, tmp_path: Path) -> None:
    tree = {"environment": {"id": "FrozenLake-v1", "kwargs": {"desc": value}}}
    with pytest.raises(PluginError, match=r"^x: expected at most 10 kB of environment.kwargs .* --allow '\*'$"):
        demand_allowed(tree, "x", ())
    demand_allowed(tree, "x", ("*",))
    demand_allowed(tree, "x", (), tree)
    (tmp_path / "map.toml").write_text(
        f"environment.id = 'FrozenLake-v1'\nenvironment.kwargs.desc = {['F' * 200] * 60}"
    )
    with pytest.raises(PluginError, match="got 12"):
        load_config(tmp_path / "map.toml")
    assert load_config(tmp_path / "map.toml", {"environment.kwargs": {}}).environment.kwargs == {}
    assert load_config(tmp_path / "map.toml", allow=["*"]).environment.kwargs
