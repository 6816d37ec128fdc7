"""``marl suggest``."""

import click

from marl.cli.options import ALLOW, DEBUG, SET, collect_settings, complete_algorithm, environment_argument


@click.command()
@environment_argument(required=True)
@click.option("--algorithm", metavar="NAME", shell_complete=complete_algorithm, help="Settings for this one.")
@SET
@ALLOW
@DEBUG
def suggest(
    environment: str, algorithm: str | None, overrides: tuple[str, ...], allow: tuple[str, ...], debug: bool
) -> None:
    """Print the settings that fit an environment as TOML, each with its reason.

    They are those that marl train ENV takes where there is no preset. In a file you can change them:

    \b
    marl suggest Taxi-v4 > taxi.toml
    marl train taxi.toml --minutes 3
    """
    from marl.cluster.runs.suggestions import choose_anew
    from marl.config.suggest import as_toml

    settings = collect_settings(overrides, algorithm__name=algorithm)
    chosen = choose_anew(environment, settings, allow)
    for line in chosen.notes:
        click.echo(f"# {line}")
    click.echo(as_toml({"environment.id": environment, **settings}, chosen.suggestions), nl=False)
