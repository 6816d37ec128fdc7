"""Real children that were let in and lie: the honest one's run is solved all the same, or who lies is named and out."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from marl.reports.history import VARIABLE as HISTORY
from tests.faults import counts
from tests.faults.lies import LIES
from tests.faults.runs import events
from tests.slow.cluster import child, parent

SHARE, SPARE = 1.5, 3  # of the uploads that are needed alone; uploads until a lie can be told from the truth
LUCK = 2.5  # instead, where one run is to say it: honest runs differ by nearly as much
RUN = ("CartPole-v1", "--minutes", "30", "--seed", "1", "--set", "environment.solved_return=150.0", "--wait", "60")

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800), pytest.mark.slow]


class Told(NamedTuple):
    """How a run went."""

    solved: bool
    uploads: int  # of the honest child: its steps, and not the clock, say how long learning took
    named: str  # why the liar was quarantined


def told(folder: Path, lie: str | None, exchange: str, normalizes: bool, seed: int = 1) -> Told:
    """A run of an honest child beside a liar, or alone."""
    history = folder / "history"
    history.mkdir()
    words = ["--set", f"exchange.name={exchange}", "--set", "exchange.every=2400 steps", "--seed", str(seed)]
    words += ["--set", f"environment.normalize_observations={str(normalizes).lower()}"]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv(HISTORY, str(history))
        honest = stack.enter_context(child(folder))
        children, liar = [honest], None
        if lie is not None:
            liar = stack.enter_context(child(folder, program=("-m", "tests.faults.lying", lie)))
            children.append(liar)
        patch.delenv(HISTORY)
        run = stack.enter_context(parent(folder, children, *RUN, *words))
        ended = run.wait("^(Solved|Ended)", seconds=1500)[1]
        named = [line for line in run.lines if liar is not None and f"{liar.name} is quarantined" in line]
        wronged = [line for line in run.lines if f"{honest.name} is quarantined" in line]
        assert not wronged, "\n".join(run.lines)
        uploads = [event for event in events(history, "upload") if event["child"] == honest.name]
        return Told(ended == "Solved", len(uploads), named[-1] if named else "")


CELLS = [("weights", True), ("pairwise", True), *([("weights", False), ("pairwise", False)] if counts.SHARE else [])]
FEW = ["ten times, one direction", "negative work", "absurd statistics"]  # whatever the luck of a run


@pytest.mark.parametrize(("exchange", "normalizes"), CELLS)
def test_an_honest_child_learns_beside_a_liar(exchange: str, normalizes: bool, tmp_path: Path) -> None:
    """Solved within half as many uploads again, or the liar is named and out."""
    folders = iter(range(100))

    def run(lie: str | None) -> Told:
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        return told(folder, lie, exchange, normalizes)

    alone = [run(None) for _ in range(3 if counts.SHARE else 2)]  # one run's luck is no measure
    assert all(each.solved for each in alone)
    most = (SHARE if counts.SHARE else LUCK) * max(each.uploads for each in alone) + SPARE
    print(f"{exchange}, normalised {normalizes}, alone: {[each.uploads for each in alone]}")
    failed = []
    for lie in LIES if counts.SHARE else FEW:
        beside = run(lie)
        print(f"{exchange}, normalised {normalizes}, {lie}: {beside}")
        if not beside.solved or (beside.uploads > most and not beside.named):
            failed.append((lie, beside))
    assert not failed, (alone, failed)
