"""``marl sign``: the parent's side of a ticket whose key never leaves the child."""

import os
import sys
from pathlib import Path

import click

from marl.cli.options import DEBUG
from marl.cli.trust.invite import DAYS, OUT, hand_over
from marl.cli.trust.keys import KEY


@click.command()
@click.argument("name")
@click.argument("request")
@DAYS
@OUT
@KEY
@DEBUG
def sign(name: str, request: str, days: int, out: Path | None, key: Path | None, debug: bool) -> None:
    """Turn the line that `marl request` printed on the machine NAME into its ticket.

    REQUEST is that line, or - to read it from standard input. The ticket is of use to that machine only.
    """
    from marl.trust.invitations import sign_request
    from marl.trust.keys import key_path, load_keys
    from marl.trust.nodes import NodeBook, nodes_path
    from marl.trust.secret import Secret

    # A secret, because a person may paste a ticket by mistake.
    line = Secret(sys.stdin.buffer.readline(4096) if request == "-" else os.fsencode(request))
    ticket = sign_request(load_keys(key or key_path()), NodeBook(nodes_path()), line, name, days=days)
    hand_over(ticket, name, out, days=days)
