"""What the parent knows of one child."""

from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

QUARANTINE = 100  # rounds of quarantine for a child that was found to lie; each further time twice as many
QUARANTINE_AFTER, SHORT_QUARANTINE = (
    3,
    10,
)  # refused uploads in a row that lead to a quarantine, and its number of rounds
STILL = 30.0  # seconds without an environment step after which a child is not waited for
HISTORY = 5  # how many of a child's last broadcasts are timed


@dataclass
class Member:
    """What the parent knows of one child, for as long as the parent lives."""

    unit: ClassVar[str] = "rounds"  # unit of the counts that a quarantine is measured in

    name: str
    live: bool = False
    joined_in: int = 0  # number of the round
    version: int | None = None  # of the weights it holds; None: unknown
    answered_at: float = 0.0
    arriving: str = ""  # kind of the newest message, which may still be arriving
    began_at: float | None = None  # when its upload of this round began to arrive
    uploaded: bool = False  # in this round
    flushed: bool = False  # told to upload at once, in this round
    arrived: int = 0  # uploads that came, merged or not
    turns: float = 0.0  # pairwise: how much its own merged uploads have added to the count of all children
    last_counter: int = 0  # of its uploads
    merged_counter: int = 0
    merged_at: float = 0.0
    refused: int = 0  # uploads in a row
    quarantined_until: int = 0  # number of the round until which its uploads are not merged
    aside: bool = False  # nothing of it is merged for now, independent of any quarantine
    quarantines: int = 0  # how often it was found to lie
    refusal: str | None = None  # told with the next answer
    steps: int = 0
    moved_at: float = 0.0  # when its environments last made a step
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))  # from broadcast to complete upload
    transfers: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))  # of these, for the payload

    def refuse(self, reason: str, count: int | None) -> str:
        """Count a refused upload. Too many in a row quarantine the child. Returns a line for the user.

        Args:
            count: number of the round, or another count that grows with time. None: only uploads of this child could
                make a count grow, so the child is not quarantined.
        """
        self.refusal = reason
        self.refused += 1
        if self.refused < QUARANTINE_AFTER or count is None:
            return f"an upload of {self.name} is refused: {reason}"
        self.refused, self.quarantined_until = 0, count + SHORT_QUARANTINE
        return f"{self.name} is quarantined for {SHORT_QUARANTINE} {self.unit}: {reason}"

    def quarantine(self, reason: str, count: int) -> str:
        """Quarantine a child that lies or is broken. Returns a line for the user."""
        for_long = QUARANTINE << min(self.quarantines, 20)
        self.quarantines, self.quarantined_until, self.refusal = self.quarantines + 1, count + for_long, reason
        return f"{self.name} is quarantined for {for_long} {self.unit}: {reason}"

    def is_quarantined(self, count: int) -> bool:
        """Whether the child is still quarantined. If so, the next answer says this to the child."""
        if self.aside:
            self.refusal = "it is quarantined for now"
        elif self.quarantined_until > count:
            self.refusal = f"it is quarantined for {self.quarantined_until - count} {self.unit} more"
        else:
            return False
        return True

    def quarantined_for(self, count: int | None) -> int:
        """How much longer the quarantine lasts, in ``unit``."""
        return 0 if count is None else max(0, self.quarantined_until - count)

    def started_anew(self) -> "Member":
        """The same child after a restart: its counters begin at 0, but refusals and quarantines are kept."""
        return Member(
            self.name,
            arrived=self.arrived,
            turns=self.turns,
            uploaded=self.uploaded,
            refused=self.refused,
            quarantined_until=self.quarantined_until,
            aside=self.aside,
            quarantines=self.quarantines,
        )
