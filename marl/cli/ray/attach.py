"""``marl attach``."""

import sys

import click

from marl.cli.options import DEBUG
from marl.cluster.fleets.ray.settings import AUTO


@click.command()
@click.argument("run", required=False)
@click.option("--ray", "address", metavar="ADDRESS", default=AUTO, help="Of the cluster.  [default: $RAY_ADDRESS]")
@click.option("--stop", is_flag=True, help="End the run as Ctrl-C would, and show how it ends.")
@DEBUG
def attach(run: str | None, address: str, stop: bool, debug: bool) -> None:
    """Show a run that goes on in a Ray cluster: marl train ENV --ray --detach began it.

    RUN is its name; the only one needs none. Ctrl-C ends the showing, and not the run.

    \b
    marl attach
    marl attach CartPole-v1-20260101-120000 --stop
    """
    from marl.cluster.fleets.ray.detached import attach as show
    from marl.processes.signals import Interrupted, raising

    try:
        with raising():
            code = show(address, run, click.echo, stop=stop)
    except (KeyboardInterrupt, Interrupted):
        click.echo("The run goes on in the cluster.", err=True)
        code = 0
    sys.exit(code)
