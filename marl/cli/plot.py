"""``marl plot``."""

from pathlib import Path

import click

from marl.cli.options import DEBUG


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="The picture.  [default: curve.png in the run, or runs.png for several]")
@DEBUG
def plot(runs: tuple[str, ...], out: str | None, debug: bool) -> None:
    """Draw the learning curve of one run, or compare several in one picture."""
    from marl.reports.plots import compare, learning_curve
    from marl.reports.run_folder import open_run_folder

    folders = [open_run_folder(Path(run)) for run in runs]
    if len(folders) == 1:
        path = Path(out) if out else folders[0].path / "curve.png"
        learning_curve(folders[0].read_metrics(), path, title=folders[0].path.name)
    else:
        path = Path(out) if out else Path("runs.png")
        compare({str(folder.path): folder.read_metrics() for folder in folders}, path)
    click.echo(f"Picture: {path}")
