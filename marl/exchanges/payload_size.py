"""How long a payload may be, once the weights' byte length is agreed."""

from marl.data.normalizer import num_columns

_REPORT_BYTES = 128 * 1024  # limit of a report


def max_payload(num_bytes: int, observation_size: int) -> int:
    """The longest payload that parent or child may send: full weights, statistics of observations, or a report."""
    return num_bytes + 8 * num_columns(observation_size) + _REPORT_BYTES
