"""``marl invite``, and how a ticket leaves the parent."""

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from marl.cli.options import DEBUG
from marl.cli.trust.keys import KEY
from marl.files import refuse_special

if TYPE_CHECKING:
    from marl.trust.secret import Secret

DAYS = click.option(
    "--days", type=click.IntRange(1, 36_500), default=365, show_default=True, help="How long the ticket is good."
)


def _can_be_written(unused_context: click.Context, unused_parameter: click.Parameter, out: Path | None) -> Path | None:
    """Looked at before the ticket is written down as given out."""
    if out is None:
        return None
    if not out.absolute().parent.is_dir():
        raise click.BadParameter(f"expected a file in a folder that exists, got {str(out)!r}: make the folder first")
    try:
        refuse_special(out)
    except OSError as error:
        raise click.BadParameter(f"expected a file, got {str(out)!r}: {error.strerror}: name another file") from error
    return out


OUT = click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_can_be_written,
    help="Write the ticket into this file, for you only, instead of to standard output.",
)


@click.command()
@click.argument("name")
@DAYS
@OUT
@KEY
@DEBUG
def invite(name: str, days: int, out: Path | None, key: Path | None, debug: bool) -> None:
    """Write a ticket that lets the machine NAME be a child, and nothing more.

    The ticket is one line, and a secret: carry it there by a way that nobody else reads.

    \b
    marl invite gpu-box-3 > gpu-box-3.ticket
    """
    from marl.trust.invitations import invite as make_ticket
    from marl.trust.keys import key_path, load_keys
    from marl.trust.nodes import NodeBook, nodes_path

    ticket = make_ticket(load_keys(key or key_path()), NodeBook(nodes_path()), name, days=days)
    hand_over(ticket, name, out, days=days)
    if out is None and sys.stdout.isatty():
        click.echo("Warning: the line above is a secret, and this terminal keeps it: better use --out FILE", err=True)


def hand_over(ticket: "Secret", name: str, out: Path | None, *, days: int) -> None:
    """Give the ticket out as one line; everything else is said on standard error.

    Raises:
        KeyFileError: the file cannot be written.
    """
    from marl.trust.files import replace_private
    from marl.trust.secret import Secret

    if out is None:
        _close_to_others()
        click.echo(ticket.reveal())
    else:
        replace_private(out, Secret(ticket.reveal() + b"\n"), advice="name another file after --out")
    click.echo(
        f"Ticket for {name}, good for {days} day{'s' * (days > 1)}. "
        "Copy it to that machine, and there run: "
        f"marl child -ip ITS_ADDRESS --ticket {out.name if out else f'{name}.ticket'}",
        err=True,
    )


def _close_to_others() -> None:
    """A shell makes the file after ``>`` readable for all, and the child would refuse it as such."""
    with suppress(OSError, ValueError):  # no descriptor, or a file of somebody else
        descriptor = sys.stdout.fileno()
        if os.name == "posix" and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
