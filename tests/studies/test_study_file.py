"""What a study file may say, and one clear line for what it may not."""

from pathlib import Path

import pytest

from marl.errors import ConfigError
from marl.studies import study_file
from marl.studies.study_file import Cell, read_study
from tests.studies.files import SMALL, written

HEAD = 'base = "CartPole-v1"\nseeds = [1]\n'


def cells(tmp_path: Path, text: str) -> tuple[Cell, ...]:
    return read_study(written(tmp_path, HEAD + text)).cells


def test_a_file_in_full(tmp_path: Path) -> None:
    study = read_study(written(tmp_path))
    assert (study.name, study.base, study.seeds) == ("small", "CartPole-v1", (1, 2))
    assert (study.divide, study.metric) == ((), "score")
    assert study.cells == (
        Cell("slow", "slow/children-0", {"stop.steps": 3000, "algorithm.learning_rate": 1e-4}, 0),
        Cell("fast", "fast/children-0", {"stop.steps": 3000, "algorithm.learning_rate": 1e-2}, 0),
    )


def test_variants_grid_and_children_are_crossed(tmp_path: Path) -> None:
    found = cells(
        tmp_path,
        "children = [0, 2]\n[variants.a]\nalgorithm.t_max = 5\n[variants.b]\n"
        "[grid]\nalgorithm.learning_rate = [1e-3, 1e-2]\noptimizer.name = ['adam']\n",
    )
    assert [cell.label for cell in found] == [
        f'{variant}, learning_rate={rate}, optimizer.name="adam", {place}'
        for variant in "ab"
        for rate in ("0.001", "0.01")
        for place in ("one machine", "2 children")
    ]
    assert len({cell.folder for cell in found}) == 8
    assert found[-1].settings == {"algorithm.learning_rate": 1e-2, "optimizer.name": "adam"}
    assert found[0].settings == {"algorithm.t_max": 5, "algorithm.learning_rate": 1e-3, "optimizer.name": "adam"}


def test_a_variant_may_have_children_of_its_own(tmp_path: Path) -> None:
    found = cells(tmp_path, "children = [2]\n[variants.alone]\nchildren = [0]\nalgorithm.t_max = 5\n[variants.b]\n")
    assert [(cell.label, cell.folder, cell.children) for cell in found] == [
        ("alone, one machine", "alone/children-0", 0),
        ("b, 2 children", "b/children-2", 2),
    ]
    assert found[0].settings == {"algorithm.t_max": 5}


def test_more_variants_values_seeds_and_children_leave_folders_as_they_were(tmp_path: Path) -> None:
    before = cells(tmp_path, "[variants.a]\n[grid]\nalgorithm.learning_rate = [1e-3]\n")
    after = cells(
        tmp_path, "children = [2, 0]\n[variants.new]\n[variants.a]\n[grid]\nalgorithm.learning_rate = [1e-2, 1e-3]\n"
    )
    assert before[0].folder in {cell.folder for cell in after}


def test_a_file_without_variants_is_one_cell(tmp_path: Path) -> None:
    assert cells(tmp_path, "") == (Cell("base", "base/children-0", {}, 0),)


def test_keys_may_have_dots_or_lie_in_tables(tmp_path: Path) -> None:
    (cell,) = cells(
        tmp_path,
        '[settings]\n"algorithm.t_max" = 7\nenvironment = {kwargs = {size = {tuple = [8, 8]}}}\n'
        '"environment.kwargs.more" = 1\n',
    )
    assert cell.settings == {
        "algorithm.t_max": 7,
        "environment.kwargs.size": {"tuple": [8, 8]},
        "environment.kwargs.more": 1,
    }


def test_an_empty_table_empties_that_of_the_base_and_an_empty_section_says_nothing(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, "[settings.environment.kwargs]\n[settings.algorithm]\n")
    assert cell.settings == {"environment.kwargs": {}}


def test_a_file_of_settings_lies_beside_the_study(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, 'base = "own.toml"\nseeds = [1]\n'))
    assert study.base == str(tmp_path / "own.toml")


def test_values_that_no_folder_can_be_called(tmp_path: Path) -> None:
    found = cells(tmp_path, "[grid]\nnetwork.hidden = [[64, 64], [64]]\nenvironment.id2 = ['a/b', 'a-b']\n")
    folders = {cell.folder for cell in found}
    assert len(folders) == 4
    assert not any(set(folder.removesuffix("/children-0")) & set('/\\:*?"<>|[] ') for folder in folders)
    assert all(len(folder) <= 120 for folder in folders)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("seeds = [1]", "base: expected an environment"),
        ('base = "CartPole-v1"', "seeds: expected a list of numbers, got nothing"),
        ('base = "CartPole-v1"\nseeds = []', "seeds: expected a list of numbers, got an empty one"),
        ('base = "CartPole-v1"\nseeds = [1, 2, 1]', "seeds: 1 is given twice"),
        ('base = "CartPole-v1"\nseeds = [true]', "seeds: expected whole numbers from 0"),
        ('base = "CartPole-v1"\nseeds = [-1]', "seeds: expected whole numbers from 0"),
        (f"{HEAD}children = [0, 0]", "children: 0 is given twice"),
        (f"{HEAD}children = 2", "children: expected a list of numbers, got 2"),
        (f"{HEAD}seed = [2]", "no key of a study is called 'seed': did you mean 'seeds'?"),
        (f"{HEAD}[algorithm]\nname = 'ppo'", r"settings go to \[settings\]"),
        (
            f"{HEAD}metric = 'speed'",
            "metric: expected one of 'score', 'steps', .*, got 'speed'",
        ),
        (f"{HEAD}metric = 5", "metric: expected one of .*, got 5"),
        (f"{HEAD}divide = 'environment.per_worker'", "divide: expected a list of settings"),
        (f"{HEAD}divide = ['algorithm.t_max', 'algorithm.t_max']", "divide: algorithm.t_max is given twice"),
        (f"{HEAD}[variants]", "variants: expected at least one table"),
        (f"{HEAD}[variants.a]\n[variants.a]", "not a TOML file of a study: Cannot declare .*twice"),
        (f"{HEAD}[variants.a]\n[variants.A]", "'a' and 'A' would share a folder"),
        (f"{HEAD}[variants.'x/y']", "variants: expected a name of letters"),
        (f"{HEAD}[variants]\na = 1", "variants.a: expected a table of settings, got 1"),
        (f"{HEAD}[variants.a]\nchildren = 2", "variants.a.children: expected a list of numbers, got 2"),
        (f"{HEAD}[variants.a]\nchildren = [2, 2]", "variants.a.children: 2 is given twice"),
        (f"{HEAD}[variants.a]\nchildren = [-1]", "variants.a.children: expected whole numbers from 0"),
        (f"{HEAD}[grid]", "grid: expected settings with lists of values, got an empty one"),
        (f"{HEAD}grid = 5", "grid: expected settings with lists of values, got 5"),
        (f"{HEAD}[grid]\nalgorithm.t_max = [5]\n'algorithm.t_max' = [6]", "grid: algorithm.t_max is given twice"),
        (f"{HEAD}[grid]\nalgorithm.t_max = []", "grid.algorithm.t_max: expected a list of at least one value"),
        (f"{HEAD}[grid]\nalgorithm.t_max = 5", "grid.algorithm.t_max: expected a list"),
        (f"{HEAD}[grid]\nalgorithm.t_max = [5, 5]", "grid.algorithm.t_max: 5 is given twice"),
        (f"{HEAD}[variants.a]\nalgorithm.t_max = 4\n[grid]\nalgorithm.t_max = [5]", "variants.a sets algorithm.t_max"),
        (
            f"{HEAD}[variants.a]\nenvironment.kwargs.d = 1\n[grid]\nenvironment.kwargs.d = [2]",
            "variants.a sets environment.kwargs.d, which",
        ),
        (
            f"{HEAD}[variants.a]\nenvironment.kwargs.d.x = 1\n[grid]\nenvironment.kwargs.d = [2]",
            "variants.a sets environment.kwargs.d.x, which",
        ),
        (
            f"{HEAD}[settings]\nenvironment.kwargs.'a.b' = 1",
            "settings: expected keys without dots in the table environment.kwargs, got 'a.b'",
        ),
        (f"{HEAD}[settings]\nseed.a = 1", "seed is not for a study file"),
        (f"{HEAD}[settings]\nseed = 3", "seed is not for a study file: name them in seeds"),
        (f"{HEAD}[settings]\nreport.runs = 'x'", "report.runs is not for a study file"),
        (f"{HEAD}[grid]\nseed = [1, 2]", "seed cannot vary"),
        (f"{HEAD}[grid]\nenvironment.id = ['a', 'b']", "environment.id cannot vary: a study compares on one"),
        (f"{HEAD}[settings]\nalgorithm.t_max = 5\n'algorithm.t_max' = 6", "algorithm.t_max is given twice"),
        (SMALL.replace("[1, 2]", str(list(range(6000)))), "at most 10,000 runs, got 12,000"),
        ("base = ", "not a TOML file of a study"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_study(written(tmp_path, text))
    assert "small.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_runs_are_counted_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_file, "Cell", lambda *unused: pytest.fail("a cell was made"))
    grid = "".join(f"environment.kwargs.{letter} = {list(range(100))}\n" for letter in "abc")
    with pytest.raises(ConfigError, match="at most 10,000 runs, got 2,000,000: make several"):
        cells(tmp_path, f"children = [0, 1]\n[grid]\n{grid}")


def test_a_file_whose_name_no_folder_can_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the study's folder has the name of its file.*got '\.x'"):
        read_study(written(tmp_path, name=".x.toml"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the study file .*No such file"):
        read_study(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot read the study file .*a folder"):
        read_study(tmp_path)
