"""What a study writes beside its runs: a table of all runs, a report in words and numbers, a picture."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marl.reports.numbers import decimals, number_text
from marl.reports.run_folder import write_atomic
from marl.studies.compare import SCORE, UNITS, Bounded, Comparison, compare_cells
from marl.studies.results import Row
from marl.studies.statistics import Estimate
from marl.studies.study_file import Cell, Study

TABLE, REPORT, PICTURE = "runs.csv", "report.md", "report.png"
SPEEDUPS = ("steps per child", "seconds")
_LEVELS = 5  # thresholds of a profile in the table


def write_table(rows: Sequence[Row], folder: Path) -> None:
    """Say in a line for each cell and seed where its run is, and what it came to.

    Raises:
        OSError: it cannot be written.
    """
    facts = [_facts(row, folder) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(facts[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(facts)
    write_atomic(folder / TABLE, text.getvalue().encode())


def write_report(study: Study, rows: Sequence[Row], folder: Path) -> None:
    """Write the table and the report of what has ended so far.

    Raises:
        OSError: a file cannot be written.
    """
    from marl.studies.picture import draw_study

    write_table(rows, folder)
    comparison = compare_cells(rows, study.metric)
    threshold = rows[0].planned.config.environment.solved_return
    write_atomic(folder / REPORT, ("\n".join(_report(study, rows, comparison)) + "\n").encode())
    draw_study(comparison, folder / PICTURE, study.name, threshold)


def _facts(row: Row, folder: Path) -> dict[str, Any]:
    """One line of the table: numbers of a run that has ended, None where there are none."""
    planned, result = row.planned, row.result
    facts: dict[str, Any] = {
        "cell": planned.cell.label,
        "children": planned.cell.children,
        "seed": planned.seed,
        "state": row.state,
        "run": None if row.run is None else os.path.relpath(row.run, folder).replace(os.sep, "/"),
    }
    names = ["reason", "solved", "score", "evaluated", "steps", "seconds", "solved_steps", "solved_seconds", "cores"]
    names += ["virtual_seconds"] if planned.config.clock.virtual else []
    return facts | {name: None if result is None else _finite(getattr(result, name)) for name in names}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0.0 else value


def _report(study: Study, rows: Sequence[Row], comparison: Comparison) -> list[str]:
    config = rows[0].planned.config
    counts = [sum(row.state == state for row in rows) for state in ("finished", "unfinished", "missing")]
    solved = config.environment.solved_return
    lines = [
        f"# {study.name}",
        "",
        f"{config.environment.id}, base `{study.base}`, {_count(len(study.seeds), 'seed')}: "
        f"{', '.join(map(str, study.seeds))}. Of {_count(len(rows), 'run')}, {counts[0]} ended, "
        f"{counts[1]} unfinished, {counts[2]} not begun.",
        *_warnings(rows, virtual=comparison.virtual),
        "",
        f"![learning curves, scores and profiles]({PICTURE})",
        "",
        "## Final score",
        "",
        "Interquartile mean over runs and its 95 % interval; the probability that a run is better than one of "
        f"**{_cell(comparison.baseline)}** by {_metric(comparison)}.",
        "",
        *_table(
            ["cell", "runs", "score", "probability of improvement"],
            [
                [
                    _cell(each.cell),
                    f"{len(each.results)} of {each.planned}",
                    _estimate(each.score),
                    _estimate(each.improvement, 2),
                ]
                for each in comparison.cells
            ],
        ),
    ]
    if solved is not None:
        lines += _costs(comparison, solved)
    return [*lines, *_profiles(comparison), *_explanations(solved is not None)]


def _metric(comparison: Comparison) -> str:
    return "final score" if comparison.metric == SCORE else f"{comparison.named(comparison.metric)} until solved"


def _warnings(rows: Sequence[Row], *, virtual: bool) -> list[str]:
    """What makes numbers differ that are compared."""
    results = [row.result for row in rows if row.result is not None]
    found = []
    cores = sorted({result.cores for result in results if result.cores is not None})
    if len(cores) > 1 and not virtual:
        found.append(f"Runs could use {' or '.join(map(str, cores))} cores: their seconds do not compare.")
    if unevaluated := sum(not result.evaluated for result in results):
        found.append(
            f"Without a final evaluation: {_count(unevaluated, 'run')}, whose score is the mean return at the end of "
            "training."
        )
    return [line for text in found for line in ("", text)]


def _costs(comparison: Comparison, threshold: float) -> list[str]:
    named = comparison.named
    rows = [
        [
            _cell(each.cell),
            f"{each.solved} of {len(each.results)}",
            *(_bounded(each.costs.get(unit), None if unit == "seconds" else 0) for unit in UNITS),
            *(_bounded(each.speedups.get(unit), 2) for unit in SPEEDUPS),
        ]
        for each in comparison.cells
    ]
    return [
        "",
        "## Until solved",
        "",
        f"Interquartile means until the mean return is {threshold:g}, with 95 % intervals. A run that was not solved "
        "counts with all that it took; ≥ or ≤ where that moves the mean. Speed-up: how many times as much the mean of "
        f"{_compared_with(comparison)} is.",
        "",
        *_table(["cell", "solved", *map(named, UNITS), *(f"speed-up in {named(unit)}" for unit in SPEEDUPS)], rows),
    ]


def _compared_with(comparison: Comparison) -> str:
    """The cell that speed-ups are against, or one for each unit."""
    cells = {unit: f"**{_cell(comparison.baselines[unit])}**" for unit in SPEEDUPS}
    if len(set(cells.values())) == 1:
        return cells[SPEEDUPS[0]]
    return " and ".join(f"{cell} (in {comparison.named(unit)})" for unit, cell in cells.items())


def _profiles(comparison: Comparison) -> list[str]:
    drawn = [(each, each.profile) for each in comparison.cells if each.profile is not None]
    if not drawn:
        return []
    thresholds = drawn[0][1].x
    chosen = [round(index * (len(thresholds) - 1) / (_LEVELS + 1)) for index in range(1, _LEVELS + 1)]
    places = 0 if comparison.metric.startswith("steps") else decimals(*thresholds[chosen].tolist())
    what = (
        "whose final score is above"
        if comparison.metric == SCORE
        else f"solved in fewer {comparison.named(comparison.metric)} than"
    )
    rows = [
        [
            _cell(each.cell),
            *(_estimate(Estimate(*(float(side[index]) for side in profile.band)), 2) for index in chosen),
        ]
        for each, profile in drawn
    ]
    return [
        "",
        "## Performance profile",
        "",
        f"The share of runs {what} each value, with 95 % intervals.",
        "",
        *_table(["cell", *(number_text(float(thresholds[index]), places) for index in chosen)], rows),
    ]


def _explanations(with_threshold: bool) -> list[str]:
    return [
        "",
        "Intervals are percentile bootstraps over runs, stratified by environment (Agarwal et al. 2021). A single run "
        "has none. In the picture, a learning curve is the mean over runs, and a run that ended keeps its last value.",
        f"Every run: `{TABLE}`."
        + (" `solved_steps` of a run that was not solved is its last step." if with_threshold else ""),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _cell(cell: Cell) -> str:
    return cell.label.replace("|", "\\|")


def _bounded(number: Bounded | None, places: int | None) -> str:
    return "–" if number is None else f"{number.bound} {_estimate(number.estimate, places)}".strip()


def _estimate(estimate: Estimate | None, places: int | None = None) -> str:
    """A number and its interval, with decimals that suit all three; "–" for none."""
    if estimate is None:
        return "–"
    known = [value for value in estimate if value == value]
    places = decimals(*known) if places is None else places
    value, *ends = (number_text(each, places) for each in known)
    return f"{value} ({' to '.join(ends)})" if ends else value
