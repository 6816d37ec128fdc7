"""``marl revoke``."""

import click

from marl.cli.options import DEBUG


@click.command()
@click.argument("name")
@DEBUG
def revoke(name: str, debug: bool) -> None:
    """Let the node NAME in no more. Run it on the parent, as the user who runs the parent."""
    from marl.trust.nodes import NodeBook, nodes_path

    found = NodeBook(nodes_path()).revoke(name)
    had = "its certificate" if len(found) == 1 else f"each of its {len(found)} certificates"
    click.echo(f"Revoked {name}: the parent on this machine refuses {had}. To let it in again: marl invite {name}")
    if not all(node.invited for node in found):
        click.echo(
            f"Warning: {name} came with the cluster's key, not with a ticket made here, and can make itself another "
            "certificate: replace the key with marl keys rotate --add",
            err=True,
        )
