"""The codec that is chosen for ``exchange.codec = "auto"``."""

from marl.exchanges.triggers import parse_trigger
from marl.wire.codec import CODECS
from marl.wire.compression import build_codec

# Codec "auto" lets a transfer take at most this share of a round. A round counts as MIN_PERIOD seconds or more, and as
# USUAL_PERIOD seconds if ``exchange.every`` is not in seconds.
TRANSFER_SHARE, MIN_PERIOD, USUAL_PERIOD = 0.1, 0.5, 5.0


def fast_enough(full: int, slowest: float, every: str) -> str:
    """The first of ``CODECS`` whose transfers are short enough; else the last one.

    Args:
        full: bytes of all weights, which the slowest child needed ``slowest`` seconds for.
        every: when children upload.
    """
    trigger = parse_trigger(every)
    period = max(MIN_PERIOD, trigger.amount) if trigger.unit == "second" else USUAL_PERIOD
    for name in CODECS:
        share = 1.0 if name == "float32" else build_codec(name).num_bytes(full // 4) / full
        if slowest * share <= TRANSFER_SHARE * period:
            return name
    return CODECS[-1]
