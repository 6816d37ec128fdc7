"""``marl presets``."""

import json

import click

from marl.cli.options import DEBUG


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@DEBUG
def presets(as_json: bool, debug: bool) -> None:
    """List the environments with tuned settings: algorithm, return that counts as solved, measured training time."""
    from marl.config.presets import all_presets

    found = all_presets()
    if as_json:
        click.echo(json.dumps([each._asdict() for each in found]))
        return
    rows = [("preset", "algorithm", "solved at", "training until solved, 2 cores")]
    rows += [
        (each.name, each.algorithm + " *" * each.default, f"{each.solved_return:g}", each.training or "not measured")
        for each in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, algorithm, solved, training in rows:
        click.echo(f"{name:{widths[0]}}  {algorithm:{widths[1]}}  {solved:>{widths[2]}}  {training}")
    click.echo("\n* used by marl train PRESET; for the others: marl train PRESET --algorithm NAME")
