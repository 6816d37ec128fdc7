"""When a child uploads: after seconds, environment steps, or episodes or updates of each of its workers."""

import re
from typing import Literal, NamedTuple, cast

from marl.errors import ConfigError

Unit = Literal["second", "step", "episode", "update"]
MOST = 2.0**63  # limit of the amount, in any unit
_TRIGGER = re.compile(r"(\d+(?:\.\d+)?)\s*(second|step|episode|update)s?")


class Trigger(NamedTuple):
    """An upload is due after ``amount`` units since the last snapshot."""

    amount: float
    unit: Unit


def parse_trigger(text: str) -> Trigger:
    """Read ``exchange.every``.

    Raises:
        ConfigError: it is no number of seconds, steps, episodes or updates.
    """
    found = _TRIGGER.fullmatch(text.strip())
    if found is None:
        expected = "'5 seconds', '20000 steps', '1 episode' or '16 updates'"
        raise ConfigError(f"exchange.every: expected {expected}, got {text!r:.60}")
    trigger = Trigger(float(found[1]), cast(Unit, found[2]))
    if trigger.unit != "second" and (trigger.amount < 1 or trigger.amount % 1):
        raise ConfigError(f"exchange.every: expected a whole number of {trigger.unit}s, at least 1, got {text!r:.60}")
    if trigger.amount >= MOST:
        raise ConfigError(f"exchange.every: expected less than 2**63 {trigger.unit}s, got {text!r:.60}")
    return trigger
