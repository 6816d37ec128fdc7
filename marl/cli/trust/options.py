"""Options that say whom a node trusts; ``marl parent`` and ``marl child`` share them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from marl.trust.options import TrustOptions

FILE = click.Path(path_type=Path)


def trust_options(*, ticket: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Every option about trust; ``ticket``: also that of a child."""
    decorators = [
        click.option("--key", metavar="FILE", type=FILE, help="The cluster's key.  [default: in $MARL_HOME]"),
        click.option("--cert", metavar="FILE", type=FILE, help="Own certificate (PEM), with --key and --ca."),
        click.option("--ca", metavar="FILE", type=FILE, help="Own authority's certificates (PEM)."),
        click.option("--allow-name", "allow_names", metavar="NAME", multiple=True, help="With --ca: who may speak."),
        click.option("--insecure", is_flag=True, help="No certificates at all; on this machine only."),
    ]
    # A parent takes it only to say why not.
    decorators.insert(
        0, click.option("--ticket", metavar="FILE", type=FILE, help="From marl invite.", hidden=not ticket)
    )
    if not ticket:
        decorators.insert(0, click.option("--server-name", metavar="NAME", help="With --ca: the children's name."))

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def take_trust(options: dict[str, Any]) -> TrustOptions:
    """Take the options about trust out of a command's options.

    Raises:
        ConfigError: they contradict each other.
    """
    names = ("key", "ticket", "cert", "ca", "server_name", "allow_names", "insecure")
    return TrustOptions(**{name: options.pop(name) for name in names if name in options})
