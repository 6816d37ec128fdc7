"""``marl study``."""

import sys
from pathlib import Path

import click

from marl.cli.options import ALLOW, DEBUG


@click.command()
@click.argument("file", metavar="FILE.toml")
@click.option(
    "--side-by-side",
    metavar="N",
    type=click.IntRange(min=1, max=1024),
    help="Runs at a time, which share the cores.  [default: as many as have a core for each worker]",
)
@click.option(
    "--only",
    metavar="TEXT",
    multiple=True,
    help="Only the runs of variants whose name in the report has this text in it; repeatable.",
)
@click.option("--report-only", is_flag=True, help="Make the report of what is there, and no run.")
@click.option("--runs", metavar="FOLDER", help="Folder of the study folders.  [default: studies-runs]")
@ALLOW
@DEBUG
def study(
    file: str,
    side_by_side: int | None,
    only: tuple[str, ...],
    report_only: bool,
    runs: str | None,
    allow: tuple[str, ...],
    debug: bool,
) -> None:
    """Train every variant of a study file with every seed, and compare them.

    Finished runs are never repeated: after an interruption, or with more seeds or variants in the file, the same
    command makes what is missing. The report lies beside the runs: report.md, report.png, runs.csv.

    \b
    marl study studies/cartpole.toml
    marl study studies/cartpole.toml --only ppo
    marl study studies/cartpole.toml --report-only
    """
    from marl.errors import ConfigError
    from marl.studies.study import STUDIES
    from marl.studies.study import study as run_study

    if "://" in (runs or ""):
        raise ConfigError(f"--runs: expected a folder of this machine for a study, got {runs!r:.200}")
    result = run_study(
        Path(file),
        runs=Path(runs or STUDIES),
        side_by_side=side_by_side,
        only=only,
        report_only=report_only,
        allow=allow,
        say=click.echo,
    )
    click.echo(f"Runs that have ended: {result.finished} of {result.planned}. Report: {result.report}")
    if result.signal is not None:
        click.echo(f"Error: stopped; marl study {file} goes on", err=True)
        sys.exit(128 + result.signal)  # as a shell reports a process that a signal ended
    if result.failures:
        more = f" (and {len(result.failures) - 1} more)" if len(result.failures) > 1 else ""
        raise click.ClickException(f"{result.failures[0]}{more}; the same command tries again what has not ended")
