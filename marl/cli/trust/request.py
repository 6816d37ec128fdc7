"""``marl request``: the child's side of a ticket whose key never leaves the child."""

import click

from marl.cli.options import DEBUG


@click.command()
@DEBUG
def request(debug: bool) -> None:
    """Print the line that asks a parent to sign this machine's own key.

    The key is made once and stays in $MARL_HOME; the line is no secret.
    """
    from marl.trust.invitations import child_key_path, make_request

    path = child_key_path()
    click.echo(make_request(path))
    click.echo(
        f"The key stays in {path}. On the parent run: marl sign NAME LINE > NAME.ticket, with the line above; "
        "bring the ticket back, and here run: marl child --ticket NAME.ticket",
        err=True,
    )
