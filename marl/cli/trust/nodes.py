"""``marl nodes``."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from marl.cli.options import DEBUG

if TYPE_CHECKING:
    from marl.trust.nodes import Node

_HEAD = ("name", "fingerprint", "expires", "last seen (UTC)", "came by", "state")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--discover", is_flag=True, help="Ask the local network for children (extra: discovery).")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="To ask for.")
@click.option("--interface", metavar="ADDRESS", multiple=True, help="Of this machine, to ask from.  [default: all]")
@DEBUG
def nodes(as_json: bool, discover: bool, seconds: float, interface: tuple[str, ...], debug: bool) -> None:
    """List the nodes that this parent has invited or met; or, with --discover, children that announce themselves.

    An address that was discovered proves nothing: who is there shows its certificate, once a parent connects.
    """
    if discover:
        return _discover(seconds, list(interface), as_json)
    from marl.trust.nodes import NodeBook, nodes_path

    found = NodeBook(nodes_path()).nodes()
    if as_json:
        click.echo(json.dumps({"nodes": [_as_json(node) for node in found]}))
    elif found:
        now = datetime.now(UTC)
        _show([_in_words(node, now) for node in found])
    else:
        click.echo("No nodes so far: marl invite NAME makes a ticket for one.")


def _discover(seconds: float, interfaces: list[str], as_json: bool) -> None:
    from marl.links.discovery.discover import discover

    found = [str(each) for each in discover(seconds, interfaces)]
    if as_json:
        click.echo(json.dumps({"children": found}))
    elif found:
        click.echo("\n".join(found))
        click.echo(f"Train on them: marl parent -ip {' '.join(found)}", err=True)
    else:
        click.echo("No child announces itself here: start children with marl child --announce.", err=True)


def _in_words(node: "Node", now: datetime) -> tuple[str, ...]:
    return (
        node.name,
        node.fingerprint[:16],
        f"{node.expires:%Y-%m-%d}",
        f"{node.last_seen:%Y-%m-%d %H:%M}" if node.last_seen else "never",
        "ticket" if node.invited else "key",
        "revoked" if node.revoked else "expired" if node.expires <= now else "let in",
    )


def _as_json(node: "Node") -> dict[str, object]:
    return {
        **node._asdict(),
        "serial": f"{node.serial:x}",  # too long for the numbers of most readers of JSON
        "expires": node.expires.isoformat(),
        "last_seen": node.last_seen.isoformat() if node.last_seen else None,
    }


def _show(rows: Sequence[tuple[str, ...]]) -> None:
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*_HEAD, box=None)
        for row in rows:
            table.add_row(*row, style="red" if row[-1] != "let in" else None)
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    for row in (_HEAD, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
