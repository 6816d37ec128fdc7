"""``marl parent`` and the root script ``init_parent.py``."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from marl.cli.addresses import TakesAddresses
from marl.cli.main import run
from marl.cli.ray.options import ray_options, run_detached, take_ray
from marl.cli.training import run_training, training_options
from marl.cli.trust.options import take_trust, trust_options

if TYPE_CHECKING:
    from marl.cluster.fleets.cluster_settings import Cluster


def parent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every option of a run on children."""
    decorators: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option("-ip", "--children", "children", metavar="ADDRESS...", multiple=True,
                     help="Where children listen: several in a row, each with a port of its own if need be."),
        click.option("-p", "--port", type=click.IntRange(1, 65535), default=5050, show_default=True,
                     help="Of children whose address has none."),
        click.option("--local", metavar="N", type=click.IntRange(min=1), help="Start N children on this machine."),
        click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0), default=10.0, show_default=True,
                     help="For the first child."),
        ray_options,
        trust_options(ticket=False),
        training_options,
    ]  # fmt: skip
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def run_parent(parameters: Mapping[str, Any] | None = None, **options: Any) -> None:
    """Train on children as the options say.

    Raises:
        click.UsageError: no children are named.
    """
    from marl.cluster.fleets.cluster_settings import Cluster

    trust = take_trust(options)
    children, port = options.pop("children"), options.pop("port")
    local, wait, ray = options.pop("local"), options.pop("wait", 10.0), take_ray(options)
    if not children and not local and ray is None:
        raise click.UsageError(
            "no children: name where they listen (-ip 10.0.0.7 10.0.0.8), or start some (--local 2, --ray)"
        )
    if ray is not None and (children or local):
        raise click.UsageError("--ray starts children with a key of their own: give neither --local nor -ip with it")
    if children and local:
        raise click.UsageError("--local starts children with a key of their own: give either --local or -ip")
    if options.pop("detach"):
        assert ray is not None  # else it was refused
        return run_detached(ray, options["environment"])
    if options["workers"] and not local and ray is None:
        raise click.UsageError("--workers is for --local and --ray: each child on another machine says how many it has")
    cluster = Cluster(children=tuple(children), port=port, local=local or 0, ray=ray, wait_s=wait, trust=trust)
    _check(cluster)
    run_training(parameters, cluster=cluster, **options)


def _check(cluster: "Cluster") -> None:
    """Let mistakes show before anything heavy is loaded, and before there is a run folder."""
    from marl.cluster.addresses import parse_addresses
    from marl.trust.find_identity import is_loopback, parent_identity
    from marl.trust.home import marl_home

    addresses = parse_addresses(cluster.children, cluster.port)
    if addresses:  # local children have a key of their own
        loopback_only = all(is_loopback(address.host) for address in addresses)
        parent_identity(cluster.trust, marl_home(), loopback_only=loopback_only)


@click.command(cls=TakesAddresses)
@parent_options
def parent(**options: Any) -> None:
    """Train one policy on several machines, each of which runs a child.

    Without ENV: CartPole-v1 until solved. -ip takes every word up to the next option but ENV.

    \b
    marl parent -ip 10.0.0.7 10.0.0.8 -p 5050
    marl parent LunarLander-v3 -ip 10.0.0.7 10.0.0.8:6000
    marl parent --local 2                       two children on this machine
    marl parent --ray --nodes 2-16              on a Ray cluster
    """
    run_parent(**options)


def main(parameters: Mapping[str, Any]) -> None:
    """Train with the script's parameters; the shell's options win."""

    @click.command(cls=TakesAddresses, context_settings={"help_option_names": ["-h", "--help"]})
    @parent_options
    def command(**options: Any) -> None:
        """Train one policy on several machines, each of which runs init_child.py.

        Without options the parameters at the top of this script hold. Another environment than theirs starts from its
        preset, or from the defaults.
        """
        run_parent(parameters, **options)

    run(command)
