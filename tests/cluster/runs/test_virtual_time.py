"""Virtual seconds of real runs: counted where they are asked for, written down, and gone on with."""

from pathlib import Path
from typing import Any

import pytest

from marl.api import Cluster, train
from marl.cluster.runs.checkpoint_manager import CHECKPOINT
from marl.cluster.runs.prepare import demand_place
from marl.config.files import load_config
from marl.errors import ConfigError
from marl.reports.run_folder import RunFolder
from marl.training import busy_time
from marl.training.saved.weights_file import read
from tests.commands import metrics

linux = pytest.mark.skipif(
    not busy_time.SCHEDULED.exists(), reason="only Linux counts how long threads wait for a core"
)
SETTINGS = {
    "seed": 1,
    "node.workers": 1,
    "exchange.every": "500 steps",
    "evaluation.episodes": 0,
    "evaluation.final_episodes": 0,
    "report.every_seconds": 0.05,
    "report.sinks": ["metrics"],
    "report.pictures": False,
    "stop.steps": 4000,
    "stop.solved": False,
}


@linux
@pytest.mark.parametrize("cluster", [None, Cluster(local=1)], ids=["alone", "child"])
def test_a_run_counts_virtual_seconds_and_goes_on_with_them(cluster: Cluster | None, tmp_path: Path) -> None:
    settings = {**SETTINGS, "report.runs": str(tmp_path / "runs"), "clock.virtual": True}
    # A long way for the answers: more than one can take by mistake.
    settings |= {"clock.link_delay_ms": 10_000.0, "exchange.barrier": True} if cluster else {}
    first = train("CartPole-v1", settings=settings, out=tmp_path / "weights.pt", live=False, cluster=cluster)
    assert first.virtual_seconds is not None
    rows = metrics(tmp_path)
    told = [row["virtual_seconds"] for row in rows]
    assert told == sorted(told)
    assert told[-1] == pytest.approx(first.virtual_seconds)
    assert RunFolder(first.run).read_facts()["ended"]["virtual_seconds"] == first.virtual_seconds
    if cluster is None:
        assert 0.0 < first.virtual_seconds <= first.seconds
    else:
        rounds = first.virtual_seconds // 20.0  # down and up
        assert 2 <= rounds <= 9
        assert first.virtual_seconds - 20.0 * rounds < first.seconds
    later = {"stop.steps": first.steps + 4000}
    second = train(resume=first.run, settings=later, out=tmp_path / "weights.pt", live=False, cluster=cluster)
    assert second.virtual_seconds is not None
    assert second.virtual_seconds > first.virtual_seconds


@linux
@pytest.mark.parametrize("form", ["exact", "delayed", "asynchronous"])
def test_every_minibatch_of_gradients_is_a_round(form: str, tmp_path: Path) -> None:
    settings = {**SETTINGS, "report.runs": str(tmp_path / "runs"), "clock.virtual": True, "stop.steps": 2000}
    settings |= {"exchange.name": "gradients", "exchange.form": form, "clock.link_delay_ms": 10_000.0}
    settings |= {"environment.per_worker": 4, "algorithm.t_max": 25, "node.workers": 2}  # 200 steps of both
    how: Any = {"out": tmp_path / "weights.pt", "live": False, "cluster": Cluster(local=1)}
    first = train("CartPole-v1", settings=settings, **how)
    assert first.virtual_seconds is not None
    rounds = first.virtual_seconds // 20.0  # down and up: no work of a minibatch hides so much
    assert rounds >= 8
    assert 0.0 < first.virtual_seconds - 20.0 * rounds < 10.0  # the work of all of them
    assert first.updates == rounds  # both workers have had a part in each
    assert metrics(tmp_path)[-1]["updates"] == rounds
    if form == "exact":
        second = train(resume=first.run, settings={"stop.steps": first.steps + 1000}, **how)
        assert second.virtual_seconds is not None
        assert second.updates == second.virtual_seconds // 20.0 > first.updates


@linux
def test_every_upload_of_pairwise_is_a_round_of_its_child(tmp_path: Path) -> None:
    settings = {**SETTINGS, "report.runs": str(tmp_path / "runs"), "clock.virtual": True, "exchange.name": "pairwise"}
    settings |= {"clock.link_delay_ms": 10_000.0}
    how: Any = {"out": tmp_path / "weights.pt", "live": False, "cluster": Cluster(local=2)}
    first = train("CartPole-v1", settings=settings, **how)
    assert first.virtual_seconds is not None
    rounds = first.virtual_seconds // 20.0  # of the child that has made most
    uploads = read(first.run / CHECKPOINT).info["version"]  # of both: each that is merged makes a version
    assert uploads / 2 <= rounds <= uploads
    assert 0.0 < first.virtual_seconds - 20.0 * rounds < 10.0  # the work between them
    second = train(resume=first.run, settings={"stop.steps": first.steps + 2000}, **how)
    assert second.virtual_seconds is not None
    assert second.virtual_seconds > first.virtual_seconds + 20.0


@linux
@pytest.mark.parametrize(
    ("algorithm", "queue", "under_way"), [("ppo", 2, 2), ("ppo", 16, 3), ("impala", 16, 3), ("apex_dqn", 16, 3)]
)
def test_actors_play_while_the_learner_learns(algorithm: str, queue: int, under_way: int, tmp_path: Path) -> None:
    settings = {**SETTINGS, "report.runs": str(tmp_path / "runs"), "clock.virtual": True, "stop.steps": 1000}
    settings |= {"exchange.name": "experience", "algorithm.name": algorithm, "clock.link_delay_ms": 10_000.0}
    settings |= {"environment.per_worker": 2, "algorithm.t_max": 25, "exchange.queue": queue}
    replays = algorithm == "apex_dqn"
    settings |= {"replay.start": 100, "replay.capacity": 10_000} if replays else {"exchange.batch": 2}
    how: Any = {"out": tmp_path / "weights.pt", "live": False, "cluster": Cluster(local=2)}
    first = train("CartPole-v1", settings=settings, **how)
    assert first.virtual_seconds is not None
    rounds = first.steps / 100  # two children, two environments, 25 steps
    # As many rounds cost one way there and back as are under way: the queue has room for one or two and the learner's.
    ways = first.virtual_seconds // 10.0
    assert ways / rounds == pytest.approx(2 / under_way, abs=0.2)
    assert 0.0 < first.virtual_seconds - 10.0 * ways < 10.0
    assert metrics(tmp_path)[-1]["virtual_seconds"] == pytest.approx(first.virtual_seconds)
    if under_way == 2:
        second = train(resume=first.run, settings={"stop.steps": first.steps + 500}, **how)
        assert second.virtual_seconds is not None
        assert second.virtual_seconds - first.virtual_seconds > 20.0


def test_a_run_that_is_not_asked_counts_nothing(tmp_path: Path) -> None:
    settings = {**SETTINGS, "report.runs": str(tmp_path / "runs")}
    result = train("CartPole-v1", settings=settings, out=tmp_path / "weights.pt", live=False)
    assert result.virtual_seconds is None
    assert all("virtual_seconds" not in row for row in metrics(tmp_path))


@linux
@pytest.mark.parametrize(
    ("settings", "on_children", "line"),
    [
        ({"exchange.every": "5 seconds"}, True, "exchange.every: expected steps, episodes or"),
        ({"exchange.name": "pairwise", "exchange.every": "5 seconds"}, True, "exchange.every: expected steps, "),
        ({"exchange.name": "observations", "environment.per_worker": 4}, True, "'experience', not 'observations'"),
        ({"algorithm.name": "impala"}, False, "needs children .* use exchange.name = 'weights'"),
    ],
    ids=["seconds", "pairwise", "no rounds", "learner alone"],
)
def test_what_cannot_be_timed_is_refused(settings: dict[str, str], on_children: bool, line: str) -> None:
    config = load_config("CartPole-v1", {**settings, "clock.virtual": True})
    with pytest.raises(ConfigError, match=line):
        demand_place(config, on_children)


def test_a_system_that_cannot_count_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_time.demand_own_clock, "__defaults__", (tmp_path / "none",))
    with pytest.raises(ConfigError, match="needs Linux"):
        demand_place(load_config("CartPole-v1", {"clock.virtual": True}), False)
