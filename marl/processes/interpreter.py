"""Python as this process would start it again."""

import os
import sys
from collections.abc import Sequence


def interpreter(path: Sequence[str] | None = None) -> tuple[str, ...]:
    """The first words of a command line that runs a module in this interpreter: ``-m``, its name, ... follow.

    A file in the current folder never stands for a module of marl or of Python, unless it does so here already.

    Args:
        path: along which this process imports; None: ``sys.path``.
    """
    here_first = list(sys.path if path is None else path)[:1] in ([""], [os.getcwd()])
    return (sys.executable, *([] if here_first else ["-P"]))
