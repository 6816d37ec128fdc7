"""``marl plot``."""

from pathlib import Path

import click

from marl.cli.options import DEBUG


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="The picture.  [default: ./NAME.png of the run, or ./runs.png for several]")
@DEBUG
def plot(runs: tuple[str, ...], out: str | None, debug: bool) -> None:
    """Draw the learning curve of one run, or compare several in one picture.

    Run folders stay as they are: the picture goes to the current folder, or where --out says.
    """
    from marl.errors import ConfigError
    from marl.reports.plots.draw import compare, demand_picture, learning_curve
    from marl.reports.plots.labels import read_labels
    from marl.reports.run_folder import holds_run, open_run_folder

    folders = [open_run_folder(Path(run)) for run in runs]
    names = [folder.path.resolve().name for folder in folders]
    path = Path(out) if out else Path(f"{names[0]}.png" if len(folders) == 1 else "runs.png")
    here = Path.cwd()
    if not out and (holds_run(here) or any(folder.path.resolve() == here for folder in folders)):
        raise ConfigError("this folder is a run's own, which marl plot leaves as it is: say where to, --out FILE")
    demand_picture(path, "--out")
    said = [read_labels(folder.config) for folder in folders]
    if len(folders) == 1:
        title = ", ".join(filter(None, (said[0].environment, said[0].algorithm))) or names[0]
        learning_curve(folders[0].read_curve(), path, title=title, solved_return=said[0].solved_return)
    else:
        thresholds = {each.solved_return for each in said}
        common = thresholds.pop() if len(thresholds) == 1 else None
        compare({str(folder.path): folder.read_curve() for folder in folders}, path, common)
    click.echo(f"Picture: {path}")
