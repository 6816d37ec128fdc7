"""``marl keys``: the one file that makes a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from marl.cli.options import DEBUG

if TYPE_CHECKING:
    from marl.trust.rotation import Step

KEY = click.option(
    "--key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The cluster's key file.  [default: cluster.key in $MARL_HOME]",
)

# What has to be done before the next step, else some machine is shut out.
_AFTER = {
    "add": "a new key is trusted beside the one in use. Copy {path} to every machine that holds it, and run "
    "marl invite NAME for every child with a ticket. Once all have got theirs: marl keys rotate --use",
    "use": "the new key is in use and the old one is still trusted. Copy {path} to every machine that holds it. "
    "Once all have got it: marl keys rotate --drop",
    "drop": "only the new key is trusted. Copy {path} to every machine that holds it. If the old key was stolen, run "
    "marl invite NAME once more for every child with a ticket: tickets made since --add still trust it",
}


@click.group(no_args_is_help=False)  # else click's way out would put the whole help into one line of error
def keys() -> None:
    """Make, replace or show the key of your cluster.

    Whoever has the key file commands the cluster. It is never printed and never an argument; it lies in $MARL_HOME,
    or in your settings folder, readable by you only.
    """


@keys.command()
@KEY
@DEBUG
def init(key: Path | None, debug: bool) -> None:
    """Make the key, once, on the parent. One that is there is kept."""
    from marl.trust.keys import create_keys, key_path

    path = key or key_path()
    ring, made = create_keys(path)
    if made:
        click.echo(f"Made {path}, the key of cluster {ring.cluster_id}. Whoever has this file commands the cluster.")
        click.echo("Next, for each child: marl invite NAME > NAME.ticket")
    else:
        click.echo(f"Kept {path}, the key of cluster {ring.cluster_id}: it was there already, and nothing is changed.")
        click.echo("Next, for each child: marl invite NAME > NAME.ticket; to replace the key: marl keys rotate --add")


@keys.command()
@click.option("--add", is_flag=True, help="First: trust a new key beside the one in use.")
@click.option("--use", is_flag=True, help="Second, when every machine has the new file: use the new key.")
@click.option("--drop", is_flag=True, help="Third, when every machine has that file: trust the old key no more.")
@KEY
@DEBUG
def rotate(add: bool, use: bool, drop: bool, key: Path | None, debug: bool) -> None:
    """Replace the key in three steps, so that no machine is shut out between them."""
    from marl.trust.keys import key_path
    from marl.trust.rotation import rotate as take

    flags: dict[Step, bool] = {"add": add, "use": use, "drop": drop}
    steps = [step for step, given in flags.items() if given]
    if len(steps) != 1:
        came = " ".join(f"--{step}" for step in steps) or "none"
        raise click.UsageError(f"expected one of --add, --use and --drop, got {came}: take them one after another")
    path = key or key_path()
    take(path, steps[0])
    click.echo(f"Done: {_AFTER[steps[0]].format(path=path)}")


@keys.command()
@KEY
@DEBUG
def show(key: Path | None, debug: bool) -> None:
    """Say which cluster the key is of, in words that are no secret."""
    from cryptography.hazmat.primitives.hashes import SHA256

    from marl.trust.keys import key_path, load_keys
    from marl.trust.rotation import stage
    from marl.trust.tls.certificates import authority

    path = key or key_path()
    ring = load_keys(path)
    state, following = stage(ring)
    click.echo(f"file         {path}")
    click.echo(f"cluster      {ring.cluster_id}")
    click.echo(f"fingerprint  {authority(ring.current).fingerprint(SHA256()).hex()}")
    click.echo(f"rotation     {state}; the next step would be {following}")
