"""Children that run already: addresses are read at once, and nothing is started or ended."""

from contextlib import closing
from pathlib import Path

import pytest

from marl.cluster.fleets.network import NetworkFleet
from marl.errors import ConfigError, MarlError
from marl.trust.options import TrustOptions


def test_children_are_met_where_the_user_says() -> None:
    notes: list[str] = []
    with closing(NetworkFleet(("127.0.0.1", "localhost:6000"), 5051, TrustOptions())) as fleet:
        endpoints = fleet.open(3, notes.append)
        assert [endpoint.address for endpoint in endpoints] == ["127.0.0.1:5051", "localhost:6000"]
        assert list(fleet.tend()) == []
        fleet.close()
    assert notes == []


def test_nobody_is_met_without_a_key_on_other_machines(tmp_path: Path) -> None:
    fleet = NetworkFleet(("10.0.0.7",), 5051, TrustOptions(key=tmp_path / "no.key"))
    with closing(fleet), pytest.raises(MarlError, match=r"no\.key"):
        fleet.open(0, print)


def test_a_wrong_address_shows_before_the_fleet_is_opened() -> None:
    with pytest.raises(ConfigError, match=r"10\.0\.0\.7:5051 is named twice"):
        NetworkFleet(("10.0.0.7", "10.0.0.7:5051"), 5051, TrustOptions())
