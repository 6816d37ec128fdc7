"""The options of children on a Ray cluster."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from marl.cli.addresses import WORDS
from marl.cluster.fleets.ray.settings import AUTO, SPREADS

if TYPE_CHECKING:
    from marl.cluster.fleets.ray.settings import RaySettings

NAMES = ("nodes", "cores_per_node", "gpus", "ray_spread", "ray_resource", "ray_label", "ray_env", "ray_wait")


def ray_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--ray``, and what it asks the cluster for."""
    decorators: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option("--ray", "ray", metavar="[ADDRESS]", is_flag=False, flag_value=AUTO,
                     help="Train on the nodes of a Ray cluster: $RAY_ADDRESS, or the one that runs here; after ENV."),
        click.option("--nodes", metavar="N[-M]",
                     help="With --ray: children to wait for, and at most.  [default: one on each node with room]"),
        click.option("--cores-per-node", type=click.IntRange(min=1), metavar="N",
                     help="With --ray: of each child.  [default: all that are free on each]"),
        click.option("--gpus", type=click.FloatRange(min=0), metavar="N", help="With --ray: of each child."),
        click.option("--ray-spread", type=click.Choice(SPREADS),
                     help="With --ray: how children are placed.  [default: SPREAD]"),
        click.option("--ray-resource", metavar="NAME=AMOUNT", multiple=True, help="With --ray: what each child needs."),
        click.option("--ray-label", metavar="NAME=VALUE", multiple=True, help="With --ray: what its node must be."),
        click.option("--ray-env", metavar="JSON", help="With --ray: Ray's runtime_env, "
                     """such as '{"working_dir": ".", "pip": ["box2d"]}'."""),
        click.option("--ray-wait", type=click.FloatRange(min=0), metavar="SECONDS",
                     help="With --ray: for room for the first N.  [default: 60]"),
        click.option("--detach", is_flag=True, help="With --ray: the parent runs in the cluster, too, and goes on "
                     "there alone; marl attach shows it."),
    ]  # fmt: skip
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def take_ray(options: dict[str, Any]) -> "RaySettings | None":
    """Take the options out; None without ``--ray``.

    Raises:
        ConfigError, click.UsageError: they cannot be.
    """
    address, given = options.pop("ray"), {name: options.pop(name) for name in NAMES}
    if address is None:
        asked = {**given, "detach": options["detach"] or None}
        if extra := [name for name, value in asked.items() if value not in (None, ())]:
            raise click.UsageError(f"--{extra[0].replace('_', '-')} is for --ray: write --ray, too")
        return None
    from marl.cli.addresses import is_environment
    from marl.cluster.fleets.ray.settings import RaySettings, parse_nodes

    if is_environment(address):
        raise click.UsageError(f"--ray takes an address, and got {address}: write marl train {address} --ray")
    named: dict[str, Any] = {
        "nodes": parse_nodes(given["nodes"]) if given["nodes"] is not None else None,
        "cores": given["cores_per_node"],
        "gpus": given["gpus"],
        "spread": given["ray_spread"],
        "resources": _pairs("--ray-resource", given["ray_resource"], float),
        "labels": _pairs("--ray-label", given["ray_label"], str),
        "environment": _environment(given["ray_env"]),
        "wait_s": given["ray_wait"],
    }
    return RaySettings(address, **{name: value for name, value in named.items() if value is not None})


def run_detached(settings: "RaySettings", source: str | None) -> None:
    """Begin the run of the present command in the cluster, and say how to see it."""
    from marl.cluster.fleets.ray.detached import detach, run_name

    context, name = click.get_current_context(), run_name(source)
    words = context.meta.get(WORDS)
    if words is None:
        raise click.UsageError("--detach is for marl train and marl parent: the cluster does not have this script")
    assert context.info_name is not None
    first = detach(settings, [context.info_name, *words], name, click.echo)
    click.echo(first)
    click.echo(f"It goes on in the cluster: marl attach {name} shows it; with --stop it ends.")


def _pairs(option: str, texts: tuple[str, ...], kind: Callable[[str], Any]) -> dict[str, Any]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            if not name or not equals or not value:
                raise ValueError
            found[name] = kind(value)
        except ValueError:
            form = "NAME=AMOUNT" if kind is float else "NAME=VALUE"
            raise click.UsageError(f"{option}: expected {form}, got {text!r}") from None
    return found


def _environment(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--ray-env: expected JSON, got {text!r} ({error})") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"--ray-env: expected a JSON object, got {text!r}")
    return found
