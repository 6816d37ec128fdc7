"""Which fleet a ``Cluster`` asks for, and several fleets as one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from marl.cluster.fleets.cluster_settings import Cluster
from marl.cluster.fleets.fleet import Fleet
from marl.cluster.fleets.local import LocalFleet
from marl.cluster.fleets.make_fleet import JointFleet, make_fleet
from marl.cluster.fleets.network import NetworkFleet
from marl.cluster.fleets.own import OwnFleet
from marl.errors import ConfigError


class Named:
    """An endpoint that is a name."""

    def __init__(self, name: str) -> None:
        self.address = name
        self.closed = 0

    def meet(self) -> Any:
        raise NotImplementedError

    def check(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


class Scripted:
    """Its children are the test's."""

    def __init__(self, *names: str) -> None:
        self.endpoints = [Named(name) for name in names]
        self.workers: list[int] = []
        self.closed = 0

    def open(self, workers: int, note: Callable[[str], None]) -> list[Named]:
        self.workers.append(workers)
        note(f"opened {self.endpoints[0].address}")
        return self.endpoints

    def tend(self) -> list[str]:
        return [f"{self.endpoints[0].address} died"]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def made() -> Iterator[list[Fleet]]:
    fleets: list[Fleet] = []
    yield fleets
    for fleet in fleets:
        fleet.close()


@pytest.mark.parametrize(
    ("cluster", "kind"),
    [
        (Cluster(children=("10.0.0.7",)), NetworkFleet),
        (Cluster(), NetworkFleet),
        (Cluster(local=1), LocalFleet),
        (Cluster(endpoints=(Named("a"),)), OwnFleet),
        (Cluster(endpoints=(Named("a"),), local=1), JointFleet),
    ],
)
def test_children_are_started_or_run_already_or_are_met_in_the_users_way(
    cluster: Cluster, kind: type[Fleet], made: list[Fleet]
) -> None:
    made.append(make_fleet(cluster))
    assert type(made[0]) is kind


def test_who_names_no_child_meets_none() -> None:
    assert list(make_fleet(Cluster()).open(0, print)) == []


def test_the_common_port_is_that_of_addresses_without_one(made: list[Fleet]) -> None:
    made.append(make_fleet(Cluster(children=("127.0.0.1", "127.0.0.1:7"), port=6000)))
    assert [each.address for each in made[0].open(0, print)] == ["127.0.0.1:6000", "127.0.0.1:7"]


def test_what_is_no_address_shows_before_anything_is_started() -> None:
    with pytest.raises(ConfigError, match="expected an address"):
        make_fleet(Cluster(children=("10.0.0.7:",), local=2))


def test_endpoints_of_ones_own_are_closed_with_the_run() -> None:
    endpoint = Named("a")
    fleet = make_fleet(Cluster(endpoints=(endpoint,)))
    assert list(fleet.open(0, print)) == [endpoint]
    assert list(fleet.tend()) == []
    fleet.close()
    assert endpoint.closed == 1


def test_ranks_of_several_fleets_follow_one_another() -> None:
    first, second, notes = Scripted("a", "b"), Scripted("c"), list[str]()
    joint = JointFleet([first, second])
    assert [endpoint.address for endpoint in joint.open(3, notes.append)] == ["a", "b", "c"]
    assert (first.workers, second.workers, notes) == ([3], [3], ["opened a", "opened c"])
    assert list(joint.tend()) == ["a died", "c died"]
    joint.close()
    assert (first.closed, second.closed) == (1, 1)
