"""Close environments, every one of them, whatever some of them raise."""

import logging
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)


def close_all(environments: Iterable[Any], name: str) -> None:
    """Close each; what they raise is one line in the log."""
    complaint = closed(environments, name)
    if complaint:
        logger.warning("%s", complaint)


def closed(environments: Iterable[Any], name: str) -> str:
    """Close each; one line that says what they raised, or nothing."""
    errors = []
    for each in environments:
        try:
            each.close()
        except (Exception, SystemExit) as error:
            errors.append(error)
    if not errors:
        return ""
    first = " ".join(f"{type(errors[0]).__name__}: {errors[0]}".split())
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{name} raised in close: {first}{more}: what it holds may be left behind"
