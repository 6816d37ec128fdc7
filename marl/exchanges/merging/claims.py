"""What an upload claims."""

from marl.errors import WeightsRefused
from marl.wire.message import Message


def work_of(upload: Message) -> int:
    """Environment steps that an upload claims.

    Raises:
        WeightsRefused: it claims something else.
    """
    work = upload.info.get("work")
    if not isinstance(work, int) or isinstance(work, bool):
        raise WeightsRefused(f"expected a count of steps as work, got {work!r:.40}")
    return work
