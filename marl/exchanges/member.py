"""What the parent knows of one child."""

from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

QUARANTINE = 100  # rounds that a child is quarantined which was found to lie, and twice as long each time after
QUARANTINE_AFTER, SHORT_QUARANTINE = (
    3,
    10,
)  # so many refused uploads in a row, and a child is quarantined for so many rounds
HISTORY = 5  # of a child's last answers


@dataclass
class Member:
    """What the parent knows of one child, for as long as the parent lives."""

    unit: ClassVar[str] = "rounds"  # what goes up as time goes by

    name: str
    live: bool = False
    joined_in: int = 0  # number of the round
    version: int | None = None  # of the weights it holds; None: unknown
    answered_at: float = 0.0
    arriving: str = ""  # kind of the message that arrives, or arrived last
    began_at: float | None = None  # when its upload of this round began to arrive
    uploaded: bool = False  # in this round
    called: bool = False  # in this round
    arrived: int = 0  # uploads that came, whatever became of them
    turns: float = 0.0  # where there are no rounds: what its merged uploads are of the time that passes for others
    last_counter: int = 0  # of its uploads
    merged_counter: int = 0
    merged_at: float = 0.0
    refused: int = 0  # uploads in a row
    quarantined_until: int = 0  # number of the round until which its uploads are not merged
    aside: bool = False  # nothing of it is merged for now, however long it is quarantined beside
    quarantines: int = 0  # how often it was found to lie
    refusal: str | None = None  # told with the next answer
    steps: int = 0
    moved_at: float = 0.0  # when its environments last made a step
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))  # from answer to complete upload
    transfers: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))  # of these, the payload's

    def refuse(self, reason: str, count: int | None) -> str:
        """An upload must not be used; what to tell people. Too many in a row bar the child for a while.

        Args:
            count: number of the round, or whatever else goes up as time goes by; None where nothing can go up without
                this child.
        """
        self.refusal = reason
        self.refused += 1
        if self.refused < QUARANTINE_AFTER or count is None:
            return f"an upload of {self.name} is refused: {reason}"
        self.refused, self.quarantined_until = 0, count + SHORT_QUARANTINE
        return f"{self.name} is quarantined for {SHORT_QUARANTINE} {self.unit}: {reason}"

    def quarantine(self, reason: str, count: int) -> str:
        """The child lies, or is broken; what to tell people."""
        for_long = QUARANTINE << min(self.quarantines, 20)
        self.quarantines, self.quarantined_until, self.refusal = self.quarantines + 1, count + for_long, reason
        return f"{self.name} is quarantined for {for_long} {self.unit}: {reason}"

    def is_quarantined(self, count: int) -> bool:
        """Whether it is still quarantined; then it is told so with the next answer."""
        if self.aside:
            self.refusal = "it is quarantined for now"
        elif self.quarantined_until > count:
            self.refusal = f"it is quarantined for {self.quarantined_until - count} {self.unit} more"
        else:
            return False
        return True

    def quarantined_for(self, count: int | None) -> int:
        """How much longer."""
        return 0 if count is None else max(0, self.quarantined_until - count)

    def started_anew(self) -> "Member":
        """The same child, whose counters begin again; what it has done wrong is not forgotten."""
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
