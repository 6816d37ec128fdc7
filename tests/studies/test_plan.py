"""Every run's settings are checked before any starts, and those of old run folders are compared."""

from pathlib import Path

import pytest

from marl.errors import ConfigError, PluginError, RunFolderError
from marl.studies.plan import demand_unchanged
from tests.commands import ROOT
from tests.studies.files import SMALL, finish, needs_clock, planned, written

HEAD = 'base = "CartPole-v1"\nseeds = [1]\n'


def test_each_cell_is_planned_with_the_first_seed_then_with_the_next(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    assert [run.name for run in runs] == ["slow, seed 1", "fast, seed 1", "slow, seed 2", "fast, seed 2"]
    assert [run.config.seed for run in runs] == [1, 1, 2, 2]
    assert runs[1].config.algorithm.learning_rate == 1e-2
    assert runs[1].config.environment.solved_return == 475.0
    assert runs[3].place == tmp_path / "study/runs/fast/children-0/seed-2"


def test_the_example_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/studies.md").read_text(encoding="utf-8")
    runs = planned(tmp_path, page.partition("```toml\n")[2].partition("```")[0])
    assert len(runs) == 24
    assert {run.config.environment.per_worker for run in runs if run.cell.children} == {16, 8}  # of 32 and 16


def test_children_share_what_is_divided(tmp_path: Path) -> None:
    text = HEAD + "children = [0, 1, 4]\ndivide = ['environment.per_worker', 'algorithm.t_max']\n"
    runs = planned(tmp_path, f"{text}[grid]\nalgorithm.t_max = [8, 16]\n")
    assert [(run.config.environment.per_worker, run.config.algorithm.t_max) for run in runs] == [
        *((32, 8), (32, 8), (8, 2)),
        *((32, 16), (32, 16), (8, 4)),
    ]
    assert runs[2].settings == {"algorithm.t_max": 2, "environment.per_worker": 8, "seed": 1}


def test_a_variant_of_another_algorithm_has_its_preset(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, f'{HEAD}[variants.b]\nalgorithm.name = "ppo"\n')
    assert run.config.algorithm.t_max == 32


def test_a_base_of_ones_own(tmp_path: Path) -> None:
    written(tmp_path, '[environment]\nid = "Acrobot-v1"\n[algorithm]\nt_max = 9\n', name="own.toml")
    (run,) = planned(tmp_path, 'base = "own.toml"\nseeds = [1]\n')
    assert (run.config.environment.id, run.config.algorithm.t_max) == ("Acrobot-v1", 9)


def test_tables_are_joined_not_replaced(tmp_path: Path) -> None:
    own = '[environment]\nid = "CarRacing-v3"\nkwargs = {continuous = false, lap_complete_percent = 0.9}\n'
    written(tmp_path, f"{own}[stop]\nsteps = 5\n", name="own.toml")
    text = 'base = "own.toml"\nseeds = [1]\n[settings.environment.kwargs]\ndomain_randomize = true\n'
    (run,) = planned(tmp_path, f"{text}[variants.a]\nenvironment = {{kwargs = {{lap_complete_percent = 0.8}}}}\n")
    assert run.config.environment.kwargs == {
        "continuous": False,
        "lap_complete_percent": 0.8,
        "domain_randomize": True,
    }


def test_a_replay_of_a_deterministic_run_cannot_go_on(tmp_path: Path) -> None:
    text = HEAD + '[settings]\nalgorithm.name = "apex_dqn"\nstop.steps = 100\ndeterministic = '
    assert planned(tmp_path, f"{text}false")[0].resumable
    assert not planned(tmp_path, f"{text}true")[0].resumable


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[variants.b]\nalgorithm.learning_rat = 1", r"b: no setting is called 'algorithm.learning_rat'.*did you mean"),
        ("[grid]\nalgorithm.learnin_rate = [1e-3]", "no setting is called 'algorithm.learnin_rate'"),
        ("[grid]\nalgorithm.t_max = ['x']", "algorithm.t_max: expected"),
        (
            "children = [0, 3]\ndivide = ['environment.per_worker']",
            "3 children: environment.per_worker = 32 cannot be divided by 3 children",
        ),
        ("children = [2]\ndivide = ['algorithm.learning_rate']", "divide: expected settings that are whole numbers"),
        ("[grid]\nexchange.name = ['weights', 'auto']", "exchange.name: expected one by its name, got 'auto'"),
        ("children = [2]\ndivide = ['per_worker']", "divide: .*got per_worker = None"),
        (
            "children = [2]\n[settings]\nexchange.name = 'observations'\nalgorithm.name = 'impala'\n"
            "environment.per_worker = 5",
            "2 children: environment.per_worker: expected an even number",
        ),
        (
            "metric = 'seconds'\n[settings]\nenvironment.id = 'Pendulum-v1'\nstop.steps = 5\n"
            "environment.solved_return = {none = true}",
            "metric = 'seconds' is counted until solved",
        ),
        ("[settings]\nstop.solved = false", "stop.solved = false needs stop.steps"),
        (
            "children = [0, 2]\n[settings]\ndeterministic = true\nalgorithm.name = 'apex_dqn'\n"
            "exchange.name = 'weights'\nstop.steps = 100",
            "2 children: deterministic = true needs replay.ratio = 0 on children",
        ),
        ("[settings]\nexchange.name = 'pairwise'", "base: .*children"),
        (
            "[grid]\nenvironment = [{id = 'CartPole-v1'}, {id = 'Acrobot-v1'}]",
            "environment.id cannot vary: expected 'CartPole-v1' as in .*CartPole.*, got 'Acrobot-v1' in .*Acrobot",
        ),
        (
            "[variants.a]\n[variants.b]\nenvironment.solved_return = 100",
            "environment.solved_return cannot vary: expected 475.0 as in a, got 100.0 in b: set it in",
        ),
        pytest.param("[variants.a]\n[variants.b]\nclock.virtual = true", "clock.virtual cannot", marks=needs_clock),
        pytest.param(
            "children = [0, 2]\n[settings]\nclock.virtual = true\nexchange.every = '5 seconds'",
            "2 children: exchange.every: expected steps, episodes or updates",
            marks=needs_clock,
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        planned(tmp_path, HEAD + text)
    assert str(caught.value).startswith(str(tmp_path / "small.toml"))


def test_code_needs_leave(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="repeat with --allow my_games"):
        planned(tmp_path, 'base = "my_games:Snake"\nseeds = [1]\n[settings]\nstop.steps = 5\n')
    with pytest.raises(PluginError, match="repeat with --allow my_ideas"):
        planned(tmp_path, f'{HEAD}[variants.a]\nalgorithm.name = "my_ideas:Mine"\n')


@pytest.mark.parametrize(
    "text",
    [
        "[grid]\nenvironment.kwargs.x = ['{}']\n",
        "[grid]\n'environment.kwargs.x' = ['{}']\n",
        "[settings]\nenvironment.kwargs.x = '{}'\n",
        "[settings]\n'environment.kwargs.x' = '{}'\n",
        "[settings]\n'environment.kwargs' = {{x = {{y = ['{}']}}}}\n",
        "[variants.a]\nenvironment.kwargs.x.y = ['{}']\n",
    ],
)
def test_arguments_of_an_environment_need_leave_in_every_spelling(tmp_path: Path, text: str) -> None:
    with pytest.raises(PluginError, match="repeat with --allow evil"):
        planned(tmp_path, HEAD + text.format("evil:Thing"))
    with pytest.raises(PluginError, match="expected at most 10 kB of environment"):
        planned(tmp_path, HEAD + text.format(20_000 * "x"))


def test_a_run_folder_changed_by_hand(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    folders = [finish(run) for run in runs]
    demand_unchanged(runs, ())
    config = folders[1] / "config.toml"
    before = config.read_text()
    config.write_text(before.replace("learning_rate = 0.01", "learning_rate = 0.5"))
    with pytest.raises(RunFolderError, match=r"fast, seed 1: .*algorithm.learning_rate is 0.5, the study says 0.01"):
        demand_unchanged(runs, ())
    config.write_text("learning_rate")
    with pytest.raises(RunFolderError, match=r"fast, seed 1: the settings in .* cannot be read"):
        demand_unchanged(runs, ())
    config.write_text(
        before.replace("every_seconds = 30.0", "every_seconds = 3.0").replace("workers = 0", "workers = 2")
    )
    demand_unchanged(runs, ())
    facts = folders[1] / "facts.json"
    whole = facts.read_text()
    facts.write_text(whole[:9])
    with pytest.raises(
        RunFolderError, match=r"fast, seed 1: .*facts.json is damaged, and says whether the run has ended"
    ):
        demand_unchanged(runs, ())
    facts.write_text(whole)
    config.rename(folders[1] / "config.old")
    with pytest.raises(RunFolderError, match=r"fast, seed 1: .* has lost its config.toml: put it back"):
        demand_unchanged(runs, ())


def test_a_study_changed_by_hand(tmp_path: Path) -> None:
    for run in planned(tmp_path):
        finish(run)
    with pytest.raises(
        RunFolderError, match=r"stop.steps is 3000, the study says 4000: undo the change, rename the study file"
    ):
        demand_unchanged(planned(tmp_path, SMALL.replace("3000", "4000")), ())
    demand_unchanged(planned(tmp_path, SMALL.replace("[1, 2]", "[2, 3]")), ())
