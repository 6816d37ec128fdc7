"""The endpoints of both sides, made of addresses and of the keys in a folder."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from marl.cluster.addresses import Address
from marl.cluster.fleets.dialing import Dialing
from marl.cluster.listening import Listening
from marl.errors import TrustError
from marl.trust.keys import key_path
from marl.trust.options import TrustOptions
from marl.trust.rotation import rotate

HOST = "127.0.0.1"
KEYS, BARE = TrustOptions(), TrustOptions(insecure=True)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    with Listening(HOST, 0, KEYS, tmp_path, lambda line: None) as opened:
        yield opened


def dials(listening: Listening, home: Path, trust: TrustOptions = KEYS, node: str | None = None) -> Dialing:
    return Dialing([Address(HOST, listening.endpoint.port, node)], trust, home, lambda line: None)


def test_on_one_machine_both_meet_with_a_key_that_was_made(listening: Listening, tmp_path: Path) -> None:
    assert listening.address == f"wss://{HOST}:{listening.endpoint.port}"
    with closing(dials(listening, tmp_path, node=listening.name)) as dialing:
        (endpoint,) = dialing.endpoints
        assert endpoint.address == listening.endpoint.address
        with closing(endpoint.meet()) as here, closing(listening.endpoint.meet()) as there:
            assert here.peer == listening.name
            assert there.peer is not None
            assert there.peer.endswith("-parent")


def test_a_key_is_replaced_while_both_run(listening: Listening, tmp_path: Path) -> None:
    with closing(dials(listening, tmp_path)) as dialing:
        for step in ("add", "use", "drop"):
            rotate(key_path(tmp_path), step)  # type: ignore[arg-type]
            listening.poll()
        with pytest.raises(TrustError):
            dialing.endpoints[0].meet()
        dialing.poll()
        with closing(dialing.endpoints[0].meet()) as here, closing(listening.endpoint.meet()):
            assert here.peer == listening.name


def test_without_keys_nobody_has_a_name(tmp_path: Path) -> None:
    with Listening(HOST, 0, BARE, tmp_path, lambda line: None) as listening:
        assert listening.address == f"ws://{HOST}:{listening.endpoint.port}"
        with closing(dials(listening, tmp_path, BARE)) as dialing:
            dialing.poll()
            listening.poll()
            with closing(dialing.endpoints[0].meet()) as here, closing(listening.endpoint.meet()) as there:
                assert (here.peer, there.peer) == (None, None)
