"""The root script ``a3c_single_machine.py``: its parameters, and the options of ``marl train``."""

from collections.abc import Mapping
from typing import Any

import click

from marl.cli.main import run
from marl.cli.training import run_training, training_options


def main(parameters: Mapping[str, Any]) -> None:
    """Train with the script's parameters; the shell's options win."""

    @click.command(context_settings={"help_option_names": ["-h", "--help"]})
    @training_options
    def command(**options: Any) -> None:
        """Train one policy with all cores of this machine, by A3C unless --algorithm says otherwise.

        Without options the parameters at the top of this script hold. Another environment than theirs starts from its
        preset, or from the defaults.
        """
        run_training(parameters, **options)

    run(command)
