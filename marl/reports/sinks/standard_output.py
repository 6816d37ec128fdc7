"""Standard output for a sink alone."""

import os
import sys
from typing import TextIO


def standard_output() -> TextIO:
    """A stream of its own to where ``sys.stdout`` leads, so that a terminal that takes nothing holds up its sink only.

    ``sys.stdout`` has one lock for all threads, and every start of a process flushes it.
    """
    stream = sys.stdout
    try:
        copy = os.dup(stream.fileno())
    except (AttributeError, OSError, ValueError):  # a notebook's, or a test's
        return stream
    return open(copy, "w", encoding=stream.encoding, errors=stream.errors)
