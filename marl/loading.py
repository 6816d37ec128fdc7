"""Load libraries faster."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading(*, for_good: bool = False) -> Iterator[None]:
    """Keep the collector off: it would look again and again at what imports make and never drop, a fifth of the time.

    Args:
        for_good: it never looks at what is here afterwards. For a command at its start, which has dropped nothing yet:
            what a user's own program has dropped would never be collected.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        if was_on:
            gc.enable()
