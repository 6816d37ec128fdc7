"""The folder of one cell and seed: which of the run folders in it counts, and how far that run is."""

import json
from pathlib import Path
from typing import Any

from marl.reports.run_folder import RunFolder, write_atomic

ABANDONED = "abandoned"  # folder of runs that were killed before anything was saved to go on from


def latest_run(place: Path) -> RunFolder | None:
    """The run folder that counts: one that has ended, or else the newest; None if there is none."""
    runs = [RunFolder(config.parent) for config in sorted(place.glob("*/config.toml"))]
    ended = [run for run in runs if end_of(run) is not None]
    return ended[0] if ended else runs[-1] if runs else None


def without_settings(place: Path) -> list[Path]:
    """Run folders that nobody can tell what they are: their settings are gone."""
    return [
        facts.parent
        for facts in sorted(place.glob("*/facts.json"))
        if facts.parent.name != ABANDONED and not (facts.parent / "config.toml").exists()
    ]


def end_of(run: RunFolder) -> dict[str, Any] | None:
    """How a run ended by itself; None where it was stopped or killed, its final evaluation too, and has to go on."""
    ended = run.read_facts().get("ended")
    if not isinstance(ended, dict) or ended.get("reason") not in ("solved", "steps", "minutes", "episodes"):
        return None
    return None if ended.get("lacking") == "stopped" else ended


def can_resume(run: RunFolder) -> bool:
    """Whether anything was saved to go on from."""
    return (run.path / "checkpoint.pt").is_file()


def forget_end(run: RunFolder) -> None:
    """Have a run that was stopped go on when it is resumed, even if it is at its end: its final evaluation lacks.

    Otherwise there is nothing to resume for ``marl.api.train``, and what ended by "stopped" never ends by itself.

    Raises:
        OSError: it cannot be written.
    """
    facts = run.read_facts()
    if facts.pop("ended", None) is not None:
        write_atomic(run.facts, json.dumps(facts, indent=2).encode() + b"\n")


def set_aside(run: RunFolder) -> None:
    """Move a run that cannot go on to where nobody takes it for one of the study.

    Raises:
        OSError: it cannot be moved.
    """
    aside = run.path.parent / ABANDONED
    aside.mkdir(exist_ok=True)
    run.path.rename(aside / run.path.name)
