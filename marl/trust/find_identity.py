"""Which identity a node uses: what the options name, else what lies in the user's folder, else, on loopback, a new key.

The cluster's key goes before a ticket, since a machine that has both runs a parent; ``--ticket`` says otherwise.
"""

import ipaddress
import logging
import os
import socket
from pathlib import Path

from marl.errors import ConfigError, KeyFileError
from marl.trust.identity import Identity, identity_from_keys, identity_from_pki, identity_from_ticket, pki_node_id
from marl.trust.invitations import child_key_path, load_child_key
from marl.trust.keys import create_keys, key_path, load_keys
from marl.trust.names import host_id, node_id
from marl.trust.options import TrustOptions
from marl.trust.tickets import read_ticket, ticket_path
from marl.trust.tls.certificates import Role

logger = logging.getLogger(__name__)


def parent_identity(options: TrustOptions, home: Path, *, loopback_only: bool) -> Identity | None:
    """Who a parent is; None with ``--insecure``.

    Args:
        home: this user's folder, ``marl_home()``.
        loopback_only: every child's address is ``is_loopback``. Then a missing key is made: child and parent are the
            same user on the same machine.

    Raises:
        ConfigError: the options cannot serve a parent.
        TrustError: there is no key, or a file is refused.
    """
    if options.ticket is not None:
        raise ConfigError(
            "expected the cluster's key at a parent, got --ticket: a ticket lets a machine be a child only; "
            "run marl keys init here, or name the key after --key"
        )
    if options.insecure:
        _check_insecure(loopback_only, "another address")
        return None
    if options.cert is not None:
        return _own_pki(options)
    path = options.key or key_path(home)
    if options.key is None and not os.path.lexists(path):  # a link that leads nowhere is there, and is refused
        # Beside a ticket, a key that nobody asked for would from then on be shown in its place.
        ticket = os.path.lexists(ticket_path(home))
        if ticket or not loopback_only:
            came = "only a child's ticket beside it" if ticket else "nothing there"
            raise KeyFileError(
                f"expected the cluster's key at {path}, got {came}: "
                "run marl keys init, then marl invite NAME > NAME.ticket for each child"
            )
        create_keys(path)
    return identity_from_keys(load_keys(path), "parent", f"{host_id(home)}-parent")


def child_identity(options: TrustOptions, home: Path, *, host: str, port: int) -> tuple[Identity | None, str]:
    """Who a child is, and the id by which a parent will know it; no identity with ``--insecure``.

    Args:
        home: this user's folder, ``marl_home()``.
        host: the address it binds. On loopback a missing key is made.
        port: the port it listens on.

    Raises:
        ConfigError: the options cannot serve a child.
        TrustError: there is neither key nor ticket, or a file is refused.
    """
    if options.server_name:
        raise ConfigError(
            "expected --server-name at a parent, got it at a child: a child is asked and asks for no name"
        )
    if options.insecure:
        _check_insecure(is_loopback(host), host)
        return None, node_id(home, port)
    if options.cert is not None:
        return _own_pki(options), pki_node_id(options.cert)
    key, ticket = _childs_files(options, home)
    if ticket is not None:
        own_key = child_key_path(home)
        found = read_ticket(ticket, seed=load_child_key(own_key) if os.path.lexists(own_key) else None)
        return identity_from_ticket(found), found.peer.node_id
    if key is None and not is_loopback(host):
        raise KeyFileError(
            f"expected a ticket or the cluster's key for a child on {host}, got neither: on the parent run "
            "marl keys init (once) and marl invite NAME > NAME.ticket, copy the file here, then run "
            f"marl child -ip {host} -p {port} --ticket NAME.ticket"
        )
    ring = load_keys(key) if key is not None else create_keys(key_path(home))[0]
    name = node_id(home, port)
    return identity_from_keys(ring, "child", name), name


def watched_file(options: TrustOptions, home: Path, role: Role) -> Path | None:
    """The key or ticket that a node uses: with a ``FileWatch`` on it, a running node knows when to choose again.

    None with ``--insecure`` and with the owner's own certificates.
    """
    if options.insecure or options.cert is not None:
        return None
    if role == "parent":
        return options.key or key_path(home)
    key, ticket = _childs_files(options, home)
    return ticket or key or key_path(home)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``: 127.0.0.0/8, ::1, and localhost where it means nothing else.

    Other names are never looked up: what one lookup says of them, the next need not.
    """
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        pass
    if host.lower() != "localhost":
        return False
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, None)}
        return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)
    except (OSError, ValueError):
        return False


def _childs_files(options: TrustOptions, home: Path) -> tuple[Path | None, Path | None]:
    """The cluster's key or the ticket that a child uses; at most one of them."""
    if options.ticket is not None or options.key is not None:
        return options.key, options.ticket
    key, ticket = key_path(home), ticket_path(home)
    has_key, has_ticket = os.path.lexists(key), os.path.lexists(ticket)
    if has_key and has_ticket:
        logger.warning("using %s, not the ticket beside it: start with --ticket %s to use that", key, ticket)
    return key if has_key else None, ticket if has_ticket and not has_key else None


def _check_insecure(loopback: bool, came: str) -> None:
    if not loopback:
        raise ConfigError(
            f"expected only loopback addresses with --insecure, got {came}: anyone there could command the children; "
            "leave --insecure out"
        )


def _own_pki(options: TrustOptions) -> Identity:
    assert options.cert is not None
    assert options.key is not None
    assert options.ca is not None
    return identity_from_pki(
        certificate=options.cert,
        key=options.key,
        authority=options.ca,
        server_name=options.server_name or None,
        allow=options.allow_names,
    )
