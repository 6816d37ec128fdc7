"""While a key is replaced, neighbours one step apart still meet; two steps apart they do not."""

from pathlib import Path

import pytest

from marl.trust.identity import Identity, identity_from_keys, identity_from_ticket
from marl.trust.invitations import invite
from marl.trust.keys import KeyRing, create_keys
from marl.trust.nodes import NodeBook
from marl.trust.rotation import rotate
from marl.trust.tickets import Ticket, parse_ticket
from marl.trust.tls.contexts import client_context, server_context
from tests.trust.tls import handshake


@pytest.fixture
def steps(tmp_path: Path) -> list[KeyRing]:
    path = tmp_path / "rotated.key"
    return [create_keys(path)[0], rotate(path, "add"), rotate(path, "use"), rotate(path, "drop")]


@pytest.mark.parametrize("parent_step", range(4))
@pytest.mark.parametrize("child_step", range(4))
def test_machines_that_share_the_key(parent_step: int, child_step: int, steps: list[KeyRing]) -> None:
    child = identity_from_keys(steps[child_step], "child", "box-5050")
    assert _meet(steps[parent_step], child) == (abs(parent_step - child_step) <= 1)


def test_an_old_ticket_lives_until_the_new_key_is_used(steps: list[KeyRing], book: NodeBook) -> None:
    ticket = identity_from_ticket(_invite(steps[0], book))
    assert [_meet(step, ticket) for step in steps] == [True, True, False, False]


def test_a_ticket_made_while_two_keys_are_trusted_outlives_the_rotation(steps: list[KeyRing], book: NodeBook) -> None:
    ticket = identity_from_ticket(_invite(steps[1], book))
    assert [_meet(step, ticket) for step in steps] == [False, True, True, True]


def _meet(ring: KeyRing, child: Identity) -> bool:
    parent = identity_from_keys(ring, "parent", "desk-1")
    return handshake(server_context(child), client_context(parent), parent.server_name).done


def _invite(ring: KeyRing, book: NodeBook) -> Ticket:
    ticket = parse_ticket(invite(ring, book, "box"))
    assert isinstance(ticket, Ticket)
    return ticket
