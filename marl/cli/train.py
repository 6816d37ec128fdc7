"""``marl train``: on this machine, or on children."""

from typing import Any

import click

from marl.cli.addresses import TakesAddresses
from marl.cli.parent import run_parent
from marl.cli.ray.options import ray_options, take_ray
from marl.cli.training import run_training, training_options


@click.command(cls=TakesAddresses)
@click.option("--children", metavar="ADDRESS...", multiple=True, help="Train on these children, as marl parent does.")
@click.option("--port", type=click.IntRange(1, 65535), default=5050, help="Of children whose address has none.")
@click.option("--local", metavar="N", type=click.IntRange(min=1), help="Start N children on this machine.")
@ray_options
@training_options
def train(children: tuple[str, ...], port: int, local: int | None, **options: Any) -> None:
    """Train a policy with all cores of this machine, or on children (marl parent has more options for that).

    ENV is any gymnasium id, package.module:Id-v0, or package.module:factory; a PRESET is an environment with tuned
    settings (marl presets lists them); FILE is a TOML file of settings. Without any: CartPole-v1 until
    solved.

    \b
    marl train LunarLander-v3
    marl train CartPole-v1 --seed 1 --set algorithm.learning_rate=1e-3
    marl train my_package.games:Snake --steps 1000000
    marl train LunarLander-v3 --ray --nodes 4   on a Ray cluster
    marl train --resume runs/LunarLander-v3-20260101-120000
    """
    if children or local or options["ray"] is not None:
        run_parent(children=children, port=port, local=local, **options)
    else:
        take_ray(options)  # refuses what needs it
        options.pop("detach")
        run_training(**options)
