"""``marl child`` and the root script ``init_child.py``."""

import sys
from typing import Any, NoReturn

import click

from marl.cli.options import DEBUG
from marl.cli.trust.options import take_trust, trust_options
from marl.trust.options import TrustOptions

LOOK_EVERY = 0.1  # seconds between two looks at a port


class KeepsArguments(click.Command):
    """A command that can be run again in another process, as it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does."""
        ctx.meta["arguments"] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=KeepsArguments, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-ip", "--ip", "host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=5050, show_default=True, help="0: any free one.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes.  [default: all cores but one]")
@click.option(
    "--orphan", metavar="SECONDS", type=click.FloatRange(min=0), default=300.0, show_default=True,
    help="How long to train on when the parent is gone.",
)  # fmt: skip
@click.option(
    "--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=10.0, show_default=True,
    help="For the port, while another program has it.",
)  # fmt: skip
@click.option("--allow", metavar="MODULE", multiple=True, help="A parent may name code of it; repeatable.")
@click.option("--announce", is_flag=True, help="Let marl nodes --discover find this child (extra: discovery).")
@trust_options(ticket=True)
@click.option("--quiet", is_flag=True, help="Show nothing but where it listens and what goes wrong.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@click.option("--contact", is_flag=True, hidden=True)
@DEBUG
def child(**options: Any) -> None:
    """Lend this machine to a parent: listen, and train what it brings.

    A child needs no configuration; its parent's comes with the run. On this machine alone it needs no key either; on
    any other address it needs a ticket or the cluster's key (see docs/keys.md).

    \b
    marl child                                  for a parent on this machine
    marl child -ip 10.0.0.7 --ticket box.ticket
    """
    trust = take_trust(options)
    if not options.pop("contact"):
        _supervise(options["host"], options["port"], trust, options["until_stdin_closes"], options["wait"])
    from marl.loading import loading
    from marl.processes.bootstrap import start_forkserver

    start_forkserver("marl.cluster.worker")  # first of all: it loads torch while this process does
    with loading(for_good=True):
        from marl.cluster.child import ChildSettings, run_child
        from marl.reports.sinks.child_view import ChildView
        from marl.trust.home import marl_home

    settings = ChildSettings(
        host=options["host"],
        port=options["port"],
        workers=options["workers"] or 0,
        orphan_s=options["orphan"],
        allow=options["allow"],
        announce=options["announce"],
    )
    view = ChildView(calm=options["quiet"], debug=options["debug"])
    run_child(settings, trust, marl_home(), {"terminal": view})


def _supervise(host: str, port: int, trust: TrustOptions, until_stdin_closes: bool, wait: float) -> NoReturn:
    """Run the same command as another process, the contact, which is started again if it is killed."""
    from marl.processes.ports import free_port
    from marl.processes.signals import stop_event, stop_with_stdin
    from marl.processes.supervisor import supervise, this_program

    words = click.get_current_context().meta["arguments"]
    # The last --port counts: the port must stay the same over all lives.
    port = port or free_port(host)
    command = this_program("child", *words, "--port", str(port), "--contact")
    _check(host, port, trust, wait)
    with stop_event() as stopped:
        if until_stdin_closes:
            stop_with_stdin(stopped)
        sys.exit(supervise(command, stopped, lambda line: click.echo(line, err=True)))


def _check(host: str, port: int, trust: TrustOptions, wait: float) -> None:
    """Let mistakes show before anything heavy is loaded.

    A child that was killed leaves its contact behind for as long as that takes to end: it has the port meanwhile.
    """
    import time

    from marl.errors import ConfigError
    from marl.links.websocket.sockets import in_use, listen
    from marl.trust.find_identity import child_identity
    from marl.trust.home import marl_home

    child_identity(trust, marl_home(), host=host, port=port)
    deadline, told = time.monotonic() + wait, False
    while True:
        try:
            found = listen(host, port, loopback_only=trust.insecure)
            break
        except ConfigError as error:
            if not in_use(error) or time.monotonic() >= deadline:
                raise
            if not told:
                click.echo(f"port {port} is in use; waiting up to {wait:g} s for it (--wait)", err=True)
            told = True
            time.sleep(LOOK_EVERY)  # no system tells when a port becomes free
    for listening in found:
        listening.close()
