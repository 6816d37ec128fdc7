"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SEED = click.option("--seed", type=click.IntRange(min=0), help="Number that all randomness follows from.")
ALLOW = click.option(
    "--allow",
    metavar="MODULE",
    multiple=True,
    help="A file that you did not write here may name code of it; repeatable.",
)
ACTIVATION = click.option(
    "--activation",
    metavar="NAME",
    help="Of a stable-baselines3 policy's hidden layers: tanh, relu, elu, leaky_relu.  [default: its algorithm's]",
)
DEBUG = click.option("--debug", is_flag=True, help="Show tracebacks and details.")


class ExchangeName(click.Choice[str]):
    """One of marl's own, or the import path of a user's."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        return value if ":" in str(value) else super().convert(value, param, ctx)


def complete_environment(
    unused_context: click.Context, unused_parameter: click.Parameter, word: str
) -> list[CompletionItem]:
    """Names of presets that begin like the word."""
    from importlib import resources

    files = (entry.name for entry in resources.files("marl.presets").iterdir() if entry.name.endswith(".toml"))
    return [CompletionItem(name.removesuffix(".toml")) for name in sorted(files) if name.startswith(word)]


def complete_key(unused_context: click.Context, unused_parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """Keys of settings that begin like the word."""
    from marl.config.settings import all_keys

    return [CompletionItem(f"{key}=") for key in all_keys() if key.startswith(word)]


def complete_algorithm(
    unused_context: click.Context, unused_parameter: click.Parameter, word: str
) -> list[CompletionItem]:
    """Names of algorithms that begin like the word."""
    from marl.algorithms.algorithm_class import ALGORITHMS

    return [CompletionItem(name) for name in ALGORITHMS if name.startswith(word)]


def environment_argument(**more: Any) -> Decorator:
    """ENV: an environment, a preset or a file."""
    return click.argument("environment", metavar="[ENV|PRESET|FILE]", shell_complete=complete_environment, **more)


SET = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=complete_key,
    help="Any setting by its path, e.g. algorithm.learning_rate=1e-3; may be repeated.",
)


def collect_settings(overrides: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """``--set`` values and the named options that were given, by the path of their setting (``__`` stands for a dot).

    Raises:
        click.UsageError: the same setting twice with different values.
    """
    from marl.config.overrides import parse_override

    settings = dict(parse_override(text) for text in overrides)
    for name, value in options.items():
        path = name.replace("__", ".")
        if value is None:
            continue
        if path in settings and settings[path] != value:
            option = "--" + name.rpartition("__")[2]
            raise click.UsageError(f"{option} says {value}, --set says {path}={settings[path]}: give one of them")
        settings[path] = value
    return settings
